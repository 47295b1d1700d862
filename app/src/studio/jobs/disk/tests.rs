//! Work with files: what comes back, and what hostile files and places get.
#![allow(clippy::unwrap_used)]
#![expect(
    clippy::disallowed_methods,
    reason = "files are made as other programs make them"
)]

use super::*;
use crate::studio::jobs::Outbox;
use crate::studio::runs::{Progress, RunId};

#[derive(Default)]
struct Basket(Mutex<Vec<Event>>);

impl Outbox for Basket {
    fn send(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }

    fn progress(&self, _id: RunId, _progress: Progress) {}
}

fn office(data: &Path) -> (Office, Arc<Basket>) {
    let outbox = Arc::new(Basket::default());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let office = Office {
        outbox: outbox.clone(),
        data_folder: Some(data.to_owned()),
        preview_pool: Arc::new(pool.unwrap()),
        drafts: Drafts::default(),
    };
    (office, outbox)
}

fn restored(outbox: &Basket) -> Saved {
    let events = std::mem::take(&mut *outbox.0.lock().unwrap());
    match events.into_iter().next() {
        Some(Event::Restored(saved)) => *saved,
        other => panic!("{other:?}"),
    }
}

fn kept_draft(number: usize) -> KeptDraft {
    KeptDraft {
        toml: format!("draft {number}"),
        rest: None,
    }
}

#[test]
fn only_the_newest_draft_is_written_and_the_waiting_one_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (office, outbox) = office(folder.path());
    let mut desk = Desk::default();
    run(Job::Restore, &office, &mut desk);
    assert_eq!(restored(&outbox).problem, None);
    let model = PathBuf::from("sample");
    for number in 0..60 {
        let draft = kept_draft(number);
        let waiting = (model.clone(), draft.clone());
        office.drafts.lock().unwrap().extend([waiting]);
        let model = model.clone();
        run(Job::KeepDraft { model, draft }, &office, &mut desk);
    }
    let kept = || Store::peek(folder.path()).unwrap().draft(&model).unwrap();
    assert!(desk.due().unwrap() <= DRAFT_WAIT);
    assert_eq!(kept(), None, "nothing is written yet");
    assert_eq!(autosaved(&office, &model), Some(kept_draft(59)));
    desk.flush(&office);
    assert_eq!(kept(), Some(kept_draft(59)));
    assert_eq!(desk.due(), None);
    assert!(office.drafts.lock().unwrap().is_empty());
    assert_eq!(autosaved(&office, &model), Some(kept_draft(59)));
}

#[test]
fn without_a_store_the_studio_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    let (office, outbox) = office(&folder.path().join("file"));
    let mut desk = Desk::default();
    run(Job::Restore, &office, &mut desk);
    let saved = restored(&outbox);
    let problem = saved.problem.unwrap();
    assert!(
        problem.starts_with("Nothing of this session is kept"),
        "{problem}"
    );
    assert_eq!(saved.next_run, 1);
    run(Job::KeepLayout("x".to_owned()), &office, &mut desk);
    assert!(outbox.0.lock().unwrap().is_empty(), "it was said once");
}

#[test]
fn files_that_are_no_recipes_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    atomic::write_bytes(&path("good.toml"), b"version = 1\n").unwrap();
    assert_eq!(read_recipe(&path("good.toml")).unwrap(), "version = 1\n");
    fs::write(path("binary"), b"\xff\xfe\x00").unwrap();
    let large = File::create(path("large")).unwrap();
    large.set_len(MAX_RECIPE_BYTES + 1).unwrap();
    let cases = [
        ("binary", "no text"),
        ("large", "more than 16 MB"),
        ("absent", "could not be read"),
        ("", "is a file"),
    ];
    for (name, expected) in cases {
        let error = read_recipe(&path(name)).unwrap_err();
        assert!(error.contains(expected), "{name:?}: {error}");
    }
    let error = atomic::write_bytes(&path("no/such/good.toml"), b"").unwrap_err();
    assert!(error.to_string().contains("good.toml"), "{error}");
}

#[test]
fn a_look_tells_what_an_export_would_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("empty")).unwrap();
    fs::create_dir_all(path("full/inside")).unwrap();
    fs::write(path("file"), "x").unwrap();
    // Name, taken, problem.
    let cases = [
        ("new/deep", false, false),
        ("empty", false, false),
        ("full", true, false),
        ("file/below", true, true),
    ];
    for (name, taken, problem) in cases {
        let place = look(path(name));
        assert_eq!(place.is_taken, taken, "{name}");
        assert_eq!(place.problem.is_some(), problem, "{name}: {place:?}");
        assert!(place.free_bytes.is_some(), "{name}");
    }
}
