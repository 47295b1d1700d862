//! Previews of zeros, factors and palettes: what stands in is near the method itself, and what is pruned shows.

use super::*;
use crate::mask::SparsityPattern;
use crate::settings::{PruneMethod, PruneScope, Pruning, Rank};

fn pruned(method: Method, by: PruneMethod, sparsity: f64) -> LayerSettings {
    LayerSettings {
        prune: Pruning {
            method: by,
            pattern: SparsityPattern::Unstructured,
            sparsity,
            scope: PruneScope::Row,
        },
        ..settings(method, 4)
    }
}

#[test]
fn histograms_show_what_is_pruned_over_the_range_of_all() {
    let weights = normal_matrix(70, 64, 21);
    let halved = pruned(Method::Float, PruneMethod::Magnitude, 0.5);
    let found = view(&weights, None, &halved, Kind::Quick);
    assert!(found.exact, "a mask by magnitude takes no time");
    let all = found.histograms.before;
    let gone = found.histograms.pruned.unwrap();
    assert_eq!(gone.limit, all.limit);
    assert_eq!(gone.counts.iter().sum::<u64>(), 70 * 32);
    let outside = all.counts.iter().zip(&gone.counts);
    assert!(outside.clone().all(|(all, gone)| gone <= all));
    let outermost = all.counts.iter().position(|&count| count > 0).unwrap();
    assert_eq!(gone.counts[outermost], 0, "large ones stay");
    let (low, high) = (found.clip_low, found.clip_high);
    assert!(low.is_finite() && high.is_finite(), "{low} to {high}");
    assert_eq!((found.codes_used, found.codes_possible), (0, 0));
    let plain = view(&weights, None, &settings(Method::Rtn, 4), Kind::Quick);
    assert_eq!(plain.histograms.pruned, None);
}

#[test]
fn more_zeros_never_look_better() {
    let (weights, statistics) = (normal_matrix(48, 64, 22), correlated(64));
    for by in [
        PruneMethod::Magnitude,
        PruneMethod::Wanda,
        PruneMethod::SparseGpt,
    ] {
        let error = |sparsity| {
            let settings = pruned(Method::Float, by, sparsity);
            let moments = Some(&statistics.moments);
            estimate(&weights, moments, &settings, &Unwatched)
                .unwrap()
                .relative_error
        };
        let errors = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0].map(error);
        assert!(errors.is_sorted(), "{by:?}: {errors:?}");
        assert!(
            errors[0] < 1e-6 && (errors[5] - 1.0).abs() < 1e-6,
            "{by:?}: {errors:?}"
        );
    }
}

#[test]
fn wanda_stands_in_for_sparsegpt_and_is_rarely_better() {
    let (weights, statistics) = (normal_matrix(64, 64, 23), correlated(64));
    let asked = pruned(Method::Float, PruneMethod::SparseGpt, 0.5);
    let [quick, exact] =
        [Kind::Quick, Kind::Exact].map(|kind| view(&weights, Some(&statistics), &asked, kind));
    assert!(!quick.exact && exact.exact);
    assert!(exact.relative_error < quick.relative_error, "{exact:?}");
    let wanda = pruned(Method::Float, PruneMethod::Wanda, 0.5);
    let wanda = view(&weights, Some(&statistics), &wanda, Kind::Quick);
    assert!(wanda.exact);
    assert_eq!(wanda.relative_error, quick.relative_error);
}

#[test]
fn factors_of_some_rows_have_their_share_of_the_rank() {
    let weights = normal_matrix(80, 64, 24);
    let factored = |rank| LayerSettings {
        rank: Rank::Fixed(rank),
        ..settings(Method::Float, 4)
    };
    let rows = Matrix::new(16, 64, weights.data()[..16 * 64].to_vec());
    let sample = Sample::new(rows, 80, None).unwrap();
    let error = |rank| {
        let found = sample.estimate(&factored(rank), &Unwatched).unwrap();
        found.relative_error
    };
    let errors = [5, 20, 40, 60].map(error);
    assert!(errors.is_sorted_by(|more, less| more > less), "{errors:?}");
    let codes = LayerSettings {
        rank: Rank::Fixed(16),
        ..settings(Method::Rtn, 3)
    };
    let with = sample.estimate(&codes, &Unwatched).unwrap().relative_error;
    let without = sample
        .estimate(&settings(Method::Rtn, 3), &Unwatched)
        .unwrap();
    assert!(
        with < without.relative_error,
        "factors win back what codes lose"
    );
}
