//! Rows of small models: blocks, columns, names.

use super::super::state::testing;
use super::*;

/// Rows of a model of two blocks; larger indices have larger errors.
fn rows(sort: Sort, folded: &[Option<usize>], passes: impl Fn(usize) -> bool) -> Rows {
    let layers = testing::layers(2);
    let draft = testing::draft(&layers);
    let figures: Vec<LayerFigures> = (0..layers.len())
        .map(|layer| LayerFigures {
            bytes_before: 100,
            bytes_after: 25,
            bytes_mark: Mark::Exact,
            bits_per_weight: 4.0,
            error: (layer > 0).then(|| Figure::estimated(layer as f64)),
            latency: (layer != 7).then(|| Figure::estimated(100.0 - layer as f64)),
        })
        .collect();
    let folded = folded.iter().copied().collect();
    let source = Source {
        layers: &layers,
        settings: &draft.settings,
        figures: &figures,
        folded: &folded,
        sort,
    };
    build(source, passes)
}

#[test]
fn blocks_have_headers_and_fold() {
    let all = rows(Sort::default(), &[], |_| true);
    assert_eq!((all.matching, all.total), (10, 10), "norms are no rows");
    assert_eq!(all.visible, [0, 1, 2, 3, 4, 6, 7, 8, 9, 11]);
    assert_eq!(all.rows.len(), 14, "four headers");
    let sums: Vec<u64> = all.groups.iter().map(|group| group.bytes_after).collect();
    assert_eq!(sums, [25, 100, 100, 25]);
    let spread = all.groups[1].errors.map(|errors| errors.map(|e| e.value));
    assert_eq!(spread, Some([1.0, 3.0, 4.0]));
    let times: Vec<Option<f64>> = all
        .groups
        .iter()
        .map(|group| Some(group.latency?.value))
        .collect();
    assert_eq!(times, [Some(100.0), Some(390.0), None, Some(89.0)]);
    let folded = rows(Sort::default(), &[Some(0)], |_| true);
    assert_eq!(folded.visible, [0, 6, 7, 8, 9, 11]);
    assert_eq!(folded.matching, 10, "folded layers still match");
}

#[test]
fn a_column_sorts_all_that_pass_without_headers() {
    let sort = Sort {
        key: SortKey::Latency,
        descending: false,
    };
    let sorted = rows(sort, &[], |_| true);
    assert_eq!(sorted.visible, [7, 11, 9, 8, 6, 4, 3, 2, 1, 0]);
    let sort = Sort {
        key: SortKey::Error,
        descending: true,
    };
    let sorted = rows(sort, &[Some(0)], |layer| layer != 7);
    assert_eq!(sorted.visible, [11, 9, 8, 6, 4, 3, 2, 1, 0]);
    assert!(sorted.groups.is_empty() && sorted.rows.len() == 9);
}

#[test]
fn numbers_in_names_sort_as_numbers() {
    let mut names = ["h.10.b", "h.2.c", "h.2", "h.2.a"];
    names.sort_by(|left, right| natural(left, right));
    assert_eq!(names, ["h.2", "h.2.a", "h.2.c", "h.10.b"]);
}

#[test]
fn clicks_on_a_header_go_up_down_and_back() {
    let clicked = |sort: Sort| sort.clicked(SortKey::Bits);
    let up = clicked(Sort::default());
    assert_eq!((up.key, up.descending), (SortKey::Bits, false));
    assert!(clicked(up).descending);
    assert_eq!(clicked(clicked(up)), Sort::default());
}
