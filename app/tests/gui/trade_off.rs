//! Size against quality on the sample: what is known before a run, and after one.

use crate::desk::Desk;
use egui_kittest::kittest::Queryable;
use pare::studio::action::{Action, View};
use pare::studio::figure::Mark;
use pare::studio::quality;
use pare::studio::{Command, Project};

fn project(desk: &Desk) -> &Project {
    desk.studio().project().unwrap()
}

#[test]
fn baselines_fall_in_error_and_grow_in_size() {
    let desk = Desk::with_sample();
    let baselines = &project(&desk).outlook.baselines;
    let bytes: Vec<u64> = baselines.iter().map(|base| base.place.bytes).collect();
    let errors: Vec<f64> = baselines
        .iter()
        .map(|base| base.place.error.unwrap().value)
        .collect();
    assert_eq!(bytes.len(), 6);
    assert!(bytes.is_sorted(), "{bytes:?}");
    assert!(errors.iter().rev().is_sorted(), "{errors:?}");
    assert_eq!(
        quality::headline(desk.studio()),
        None,
        "no run was measured"
    );
}

#[test]
fn a_measured_run_makes_the_guide_known() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::TradeOff));
    desk.command(Command::Act(Action::StartRun));
    desk.settle();
    let measured = desk.studio().runs[0].loss().unwrap().value;
    let headline = quality::headline(desk.studio()).unwrap();
    assert_eq!((headline.value, headline.mark), (measured, Mark::Measured));
    desk.command(Command::Uniform(3));
    desk.settle();
    let headline = quality::headline(desk.studio()).unwrap();
    assert_eq!(headline.mark, Mark::Estimated);
    assert!(
        headline.value > measured,
        "{} after fewer bits, {measured} before",
        headline.value
    );
    let outlook = &project(&desk).outlook;
    let (now, ghost) = (outlook.now.unwrap(), outlook.ghost.unwrap());
    assert!(
        now.bytes < ghost.bytes,
        "the ghost is the draft before: {now:?}, {ghost:?}"
    );
}

#[test]
fn without_sensitivity_the_pane_offers_to_measure_it() {
    let mut desk = Desk::with_sample();
    desk.command(Command::Show(View::TradeOff));
    desk.harness.run_steps(3);
    for label in [
        "Sensitivity is not measured yet",
        "Measure sensitivity quickly",
    ] {
        assert!(desk.harness.query_by_label(label).is_some(), "{label}");
    }
    let slider = desk.harness.query_by_label("Budget");
    assert!(slider.is_none(), "there is no front to slide along");
}
