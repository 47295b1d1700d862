//! The run folder: what it refuses, what it keeps, what it forgets.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "damage and clutter are made as crashes make them"
)]

use super::*;
use crate::grid::{AffineGrid, GridConfig, ScaleDtype};
use crate::recipe::Recipe;
use crate::solved::{Codes, Grid, Method};

fn fingerprint(seed: &str) -> Fingerprint {
    vec![("model".into(), "abc".into()), ("seed".into(), seed.into())]
}

fn create(out: &Path, resume: bool, seed: &str) -> Result<RunFolder, StoreError> {
    let input = out.parent().unwrap().join("input");
    fs::create_dir_all(&input).unwrap();
    RunFolder::create(out, &input, "version = 1\n", &fingerprint(seed), resume)
}

fn solved() -> Solved {
    let config = GridConfig {
        bits: 4,
        group: 0,
        symmetric: true,
        scale_dtype: ScaleDtype::F16,
    };
    Solved {
        method: Method::Rtn,
        codes: Codes {
            rows: 2,
            columns: 3,
            values: vec![0, 15, 8, 1, 2, 3],
        },
        grid: Grid::Affine(AffineGrid::neutral(config, 2, 3)),
        mask: None,
        factors: None,
        loss: None,
        warnings: vec![],
    }
}

fn report(name: &str) -> LayerReport {
    LayerReport {
        name: name.into(),
        method: Method::Rtn,
        bits: 4,
        group: 0,
        sparsity: 0.0,
        bytes: 10,
        weights: 6,
        relative_output_error: None,
        sqnr_db: Some(20.0),
        cosine: Some(1.0),
        max_error: Some(0.5),
        seconds: 0.1,
        fallback: None,
        warnings: vec![],
        codes_used: 6,
        prune: crate::settings::PruneMethod::None,
        pattern: None,
        rank: None,
        palette: None,
        dead_inputs: 0,
        activations: ActivationPlan::NONE,
        settings: Recipe::default().default,
        histograms: None,
        reason: None,
    }
}

fn tensor() -> OriginalTensor {
    OriginalTensor {
        name: "a.weight".into(),
        shape: vec![2, 3],
        dtype: Dtype::F32,
        transposed: false,
    }
}

#[test]
fn a_layer_survives_a_resume_and_a_damaged_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    create(&out, false, "0")
        .unwrap()
        .store_layer(tensor(), &solved(), &ActivationPlan::NONE, &report("a"))
        .unwrap();
    let run = create(&out, true, "0").unwrap();
    let stored = run.finished_layer("a").unwrap().unwrap();
    assert_eq!((stored.solved, stored.report), (solved(), report("a")));
    assert!(run.finished_layer("b").unwrap().is_none());

    let path = run.layer_path("a");
    let bytes = fs::read(&path).unwrap();
    for cut in [0, 7, 100, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(run.finished_layer("a").unwrap().is_none(), "cut at {cut}");
    }
}

#[test]
fn a_resume_must_ask_for_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    assert!(matches!(
        create(&out, true, "0"),
        Err(StoreError::NothingToResume { .. })
    ));
    create(&out, false, "0").unwrap();
    assert!(matches!(
        create(&out, false, "0"),
        Err(StoreError::Unfinished { .. })
    ));
    let error = create(&out, true, "1").unwrap_err().to_string();
    assert!(error.contains("another seed"), "{error}");
}

#[test]
fn two_runs_never_work_in_one_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let first = create(&out, false, "0").unwrap();
    for resume in [false, true] {
        let error = create(&out, resume, "0").unwrap_err();
        assert!(
            matches!(error, StoreError::Busy { .. }),
            "resume {resume}: {error}"
        );
    }
    drop(first);
    let again = create(&out, true, "0").unwrap();
    again.finish("{}", true).unwrap();
    assert!(!out.join(OWN_FOLDER).join(LOCK).exists());
    let error = create(&out, true, "0").unwrap_err();
    assert!(matches!(error, StoreError::NotEmpty { .. }), "{error}");
}

#[test]
fn outputs_that_are_taken_or_inside_the_input_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    fs::create_dir(&out).unwrap();
    drop(create(&out, false, "0").expect("an empty folder may stand there"));
    fs::write(out.join("file"), "x").unwrap();
    assert!(matches!(
        create(&out, false, "0"),
        Err(StoreError::NotEmpty { .. })
    ));
    fs::write(folder.path().join("plain"), "x").unwrap();
    assert!(matches!(
        create(&folder.path().join("plain"), false, "0"),
        Err(StoreError::NotEmpty { .. })
    ));
    let inside = folder.path().join("input").join("deep").join("out");
    let input = folder.path().join("input");
    let error = RunFolder::create(&inside, &input, "", &vec![], false).unwrap_err();
    assert!(matches!(error, StoreError::InsideInput { .. }), "{error}");
    let under_a_file = folder.path().join("plain").join("out");
    assert!(RunFolder::create(&under_a_file, &input, "", &vec![], false).is_err());
}

#[test]
fn finishing_gives_the_folder_its_name() {
    let folder = tempfile::tempdir().unwrap();
    for (name, keep) in [("kept", true), ("dropped", false)] {
        let out = folder.path().join(name);
        fs::create_dir(&out).unwrap();
        let run = create(&out, false, "0").unwrap();
        run.store_layer(tensor(), &solved(), &ActivationPlan::NONE, &report("a"))
            .unwrap();
        run.store_changed_tensor("norm.weight", &[2], &[1.0, -2.5])
            .unwrap();
        let finished = run.finish("{}", keep).unwrap();
        assert_eq!(finished, out);
        assert_eq!(layer_of_run(&out, "a").unwrap().is_some(), keep);
        assert_eq!(
            changed_tensor_of_run(&out, "norm.weight").unwrap(),
            Some(vec![1.0, -2.5])
        );
        assert_eq!(changed_tensor_of_run(&out, "other").unwrap(), None);
        assert!(!folder.path().join(format!("{name}.partial")).exists());
    }
}
