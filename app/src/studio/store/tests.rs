//! The store: what comes back, what it refuses, what it survives.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "damage is made as a crash makes it"
)]

use super::*;
use crate::studio::kept::Rest;
use crate::studio::preferences::Preferences;
use crate::studio::proposal::BudgetRules;
use crate::studio::runs::{Run, RunId, RunStatus};
use pare_engine::report::{Evaluation, Histogram, Histograms, LayerReport, Verified};
use pare_engine::session::CompressReport;
use pare_engine::settings::LayerOption;
use std::sync::Arc;

fn histogram() -> Histogram {
    Histogram {
        limit: 2.0,
        counts: (0..256).collect(),
    }
}

fn report() -> CompressReport {
    let layer = LayerReport {
        name: "a".to_owned(),
        method: pare_engine::solved::Method::Rtn,
        bits: 4,
        group: 0,
        sparsity: 0.0,
        bytes: 10,
        weights: 6,
        relative_output_error: Some(0.125),
        sqnr_db: None,
        cosine: None,
        max_error: Some(1.0 / 3.0),
        seconds: 0.1,
        fallback: None,
        warnings: Vec::new(),
        codes_used: 6,
        prune: pare_engine::settings::PruneMethod::None,
        pattern: None,
        rank: None,
        palette: None,
        dead_inputs: 0,
        activations: pare_engine::packed::ActivationPlan::NONE,
        settings: pare_engine::recipe::Recipe::default().default,
        histograms: Some(Histograms {
            pruned: None,
            before: histogram(),
            after: histogram(),
            error: histogram(),
        }),
        reason: None,
    };
    CompressReport {
        out: "out".to_owned(),
        format: "pare".to_owned(),
        bytes_before: 100,
        bytes_after: 30,
        bits_per_weight: 4.25,
        seconds: 1.5,
        peak_rss_bytes: 1 << 30,
        recipe: String::new(),
        stages: Vec::new(),
        layers: vec![layer],
        structure: None,
        verified: Verified {
            tensors: 1,
            max_abs_difference: 0.0,
        },
        evaluation: None,
        warnings: Vec::new(),
    }
}

fn run(id: i64) -> Run {
    Run {
        id: RunId(id),
        name: format!("sample {id}"),
        model: "sample".into(),
        recipe_toml: "version = 1\n".to_owned(),
        recipe_hash: "0123456789ab".to_owned(),
        format: "pare".to_owned(),
        out: format!("/runs/sample-{id}").into(),
        evaluation_text: Some("/texts/模型.txt".into()),
        created_unix_ms: 1_800_000_000_000 + id,
        status: RunStatus::Running,
        training: None,
        report: None,
        evaluations: Vec::new(),
        pinned: false,
    }
}

fn open(folder: &Path) -> Store {
    let (store, notice) = Store::open(folder).unwrap();
    assert_eq!(notice, None);
    store
}

#[test]
fn what_is_kept_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("deep").join("data");
    let mut store = open(&place);
    let mut done = run(2);
    done.status = RunStatus::Done;
    done.report = Some(Arc::new(report()));
    done.pinned = true;
    let failed = Run {
        status: RunStatus::Failed("no room".to_owned()),
        ..run(1)
    };
    for run in [&done, &failed] {
        store.keep_run(run).unwrap();
    }
    store
        .keep_setting("preferences", &Preferences::default())
        .unwrap();
    let draft = |toml: &str, budget_bytes| KeptDraft {
        toml: toml.to_owned(),
        rest: Some(Rest {
            locked: vec!["lm_head".to_owned()],
            budget_bytes,
            rules: BudgetRules {
                allowed: vec![("*.down_proj".to_owned(), LayerOption::all())],
                ..BudgetRules::default()
            },
            ..Rest::default()
        }),
    };
    for kept in [draft("a", None), draft("b", Some(9))] {
        store.keep_draft(Path::new("sample"), &kept).unwrap();
    }
    drop(store);

    let store = open(&place);
    let runs = store.runs().unwrap();
    assert_eq!(
        format!("{runs:?}"),
        format!("{:?}", [&done, &failed]),
        "newest first, reports and histograms whole"
    );
    let preferences: Option<Preferences> = store.setting("preferences").unwrap();
    assert_eq!(preferences, Some(Preferences::default()));
    assert_eq!(store.setting::<String>("layout").unwrap(), None);
    let kept = Store::peek(&place).unwrap().draft(Path::new("sample"));
    assert_eq!(kept.unwrap(), Some(draft("b", Some(9))));
    store.drop_run(RunId(2)).unwrap();
    assert_eq!(store.runs().unwrap().len(), 1);
}

#[test]
fn an_older_window_does_not_undo_what_is_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut worker = open(folder.path());
    let mut other = open(folder.path());
    let evaluation = || -> Evaluation {
        serde_json::from_str(
            r#"{"tokens":1,"windows":1,"perplexity":2.0,"perplexity_stderr":null,"seconds":1.0,
                "reference_perplexity":null,"perplexity_ratio":null,"perplexity_ratio_stderr":null,
                "kl":null,"same_top":null,"flips":null}"#,
        )
        .unwrap()
    };
    worker.keep_run(&run(1)).unwrap();
    let done = Run {
        status: RunStatus::Done,
        report: Some(Arc::new(report())),
        evaluations: vec![evaluation()],
        ..run(1)
    };
    worker.keep_run(&done).unwrap();
    let renamed = Run {
        name: "mine".to_owned(),
        status: RunStatus::Interrupted,
        ..run(1)
    };
    other.keep_run(&renamed).unwrap();
    let kept = other.runs().unwrap().remove(0);
    assert_eq!((kept.status, &kept.name[..]), (RunStatus::Done, "mine"));
    assert_eq!(kept.evaluations.len(), 1);
    assert!(kept.report.is_some());
}

#[test]
fn windows_never_share_a_base() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (open(folder.path()), open(folder.path()));
    let bases = [
        first.new_base().unwrap(),
        second.new_base().unwrap(),
        first.new_base().unwrap(),
    ];
    assert_eq!(bases, [1 << 32, 2 << 32, 3 << 32]);
    assert_eq!(run(bases[2] + 7).number(), 7);
}

#[test]
fn a_newer_file_is_opened_by_nobody() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join(FILE_NAME);
    let raw = Connection::open(&path).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    let before = fs::read(&path).unwrap();
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("update Pare"), "{error}");
    assert!(error.ends_with(FILE_NAME), "{error}");
    assert!(Store::peek(folder.path()).is_none());
    assert_eq!(fs::read(&path).unwrap(), before, "nothing was changed");
}

#[test]
fn a_damaged_file_is_kept_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let whole = {
        let mut store = open(folder.path());
        let done = Run {
            report: Some(Arc::new(report())),
            ..run(1)
        };
        store.keep_run(&done).unwrap();
        drop(store);
        fs::read(&path).unwrap()
    };
    let mut torn = whole.clone();
    torn[100..5000].fill(0xa5);
    let cases = [
        (
            b"this is no database, but it is long enough to be one".repeat(40),
            1,
        ),
        (torn, 2),
        (whole[..whole.len() / 2].to_vec(), 3),
    ];
    for (bytes, number) in cases {
        fs::write(&path, &bytes).unwrap();
        let (store, notice) = Store::open(folder.path()).unwrap();
        let aside = folder.path().join(format!("{FILE_NAME}.damaged-{number}"));
        assert!(notice.unwrap().contains(&*aside.to_string_lossy()));
        assert_eq!(fs::read(&aside).unwrap(), bytes, "case {number}");
        assert!(store.runs().unwrap().is_empty());
    }
}

#[test]
fn a_place_that_cannot_be_is_a_value() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let error = Store::open(&folder.path().join("file").join("data")).unwrap_err();
    assert!(matches!(error, StoreProblem::Folder { .. }), "{error}");
    fs::create_dir_all(folder.path().join("taken").join(FILE_NAME)).unwrap();
    let error = Store::open(&folder.path().join("taken")).unwrap_err();
    assert!(matches!(error, StoreProblem::Sqlite { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_read_only_file_is_a_value() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join(FILE_NAME);
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    mode(&path, 0o400).unwrap();
    mode(folder.path(), 0o500).unwrap();
    // Whoever runs as root may write anyway, and then it must work.
    let may_write = fs::OpenOptions::new().write(true).open(&path).is_ok();
    let opened = Store::open(folder.path());
    mode(folder.path(), 0o700).unwrap();
    match may_write {
        true => assert!(opened.is_ok()),
        false => assert!(opened.is_err()),
    }
}

#[test]
fn a_window_that_writes_for_too_long_is_a_value() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let other = Connection::open(folder.path().join(FILE_NAME)).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let patience = Duration::from_millis(20);
    let (mut store, _) = Store::open_with(folder.path(), patience).unwrap();
    let error = store.keep_run(&run(1)).unwrap_err();
    assert!(matches!(error, StoreProblem::Locked { .. }), "{error}");
    other.execute_batch("COMMIT").unwrap();
    store.keep_run(&run(1)).unwrap();
}

#[test]
fn a_file_of_an_older_version_takes_the_steps_that_it_lacks() {
    let place = tempfile::tempdir().unwrap();
    let mut raw = Connection::open(place.path().join(FILE_NAME)).unwrap();
    schema::migrate_to(&mut raw, 1).unwrap();
    raw.execute(
        "INSERT INTO drafts (model, toml) VALUES (?1, 'old')",
        [b"sample"],
    )
    .unwrap();
    drop(raw);
    assert!(
        Store::peek(place.path()).is_none(),
        "nothing is changed by a look"
    );
    let store = Store::open(place.path()).unwrap().0;
    let draft = store.draft(Path::new("sample")).unwrap().unwrap();
    assert_eq!((&draft.toml[..], draft.rest), ("old", None));
}
