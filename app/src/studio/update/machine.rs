//! This machine measured, a person's own devices found: what speed and memory are told for.

use crate::studio::effect::{Effect, Job};
use crate::studio::event::Outcome;
use crate::studio::log::Level;
use crate::studio::runs::{Control, Progress};
use crate::studio::state::Studio;
use pare_engine::device::DeviceProfile;
use std::sync::Arc;

impl Studio {
    /// Measures what this machine can do, as a long job that can be stopped.
    pub(super) fn measure_machine(&mut self) -> Vec<Effect> {
        let job = Job::MeasureMachine {
            options: self.session_options(),
            control: Arc::new(Control::default()),
        };
        self.side("Measuring this machine".to_owned(), job)
    }

    /// Looks for what was measured before and for a person's own devices.
    pub(super) fn find_devices(&self) -> Vec<Effect> {
        vec![Effect::Start(Job::FindDevices(self.session_options()))]
    }

    pub(super) fn measuring_went_on(&mut self, progress: &Progress) {
        if let Some(job) = self.side_job.as_mut().filter(|job| job.measures_machine) {
            job.share = Some(progress.done as f32 / progress.total.max(1) as f32);
        }
    }

    pub(super) fn machine_measured(&mut self, outcome: Outcome<Box<DeviceProfile>>) -> Vec<Effect> {
        self.side_job = None;
        match outcome {
            Outcome::Done(profile) => {
                self.devices.set_machine(Some(*profile));
                self.device_changed();
                vec![self.tell(Level::Info, "This machine is measured")]
            }
            Outcome::Stopped => vec![self.tell(Level::Info, "Measuring this machine was stopped")],
            Outcome::Failed(reason) => vec![self.tell(Level::Error, reason)],
        }
    }

    pub(super) fn devices_found(
        &mut self,
        machine: Option<Box<DeviceProfile>>,
        free_bytes: Option<u64>,
        own: Result<Vec<DeviceProfile>, String>,
    ) -> Vec<Effect> {
        self.devices.set_machine(machine.map(|machine| *machine));
        self.devices.set_free(free_bytes);
        let problem = own.as_ref().err().cloned();
        self.devices.set_own(own);
        self.device_changed();
        match problem {
            Some(problem) => vec![self.tell(Level::Warning, problem)],
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{edit, with_sample};
    use crate::studio::action::Action;
    use crate::studio::devices::THIS_MACHINE;
    use crate::studio::draft::LayerEdit;
    use crate::studio::effect::Job;
    use crate::studio::event::Outcome;
    use crate::studio::figure::Mark;
    use crate::studio::preferences::Preferences;
    use crate::studio::runs::{MEASURING, Progress};
    use crate::studio::{Command, Effect, Event, Studio};
    use pare_engine::device::DeviceProfile;
    use pare_engine::settings::KvCache;

    fn chosen(change: impl FnOnce(&mut Preferences)) -> Studio {
        let mut studio = with_sample();
        let mut preferences = studio.preferences.clone();
        preferences.device = DeviceProfile::builtin()[2].name.clone();
        change(&mut preferences);
        studio.command(Command::Prefer(preferences));
        studio
    }

    fn version(studio: &Studio) -> u64 {
        studio.project().unwrap().latency.version
    }

    fn tokens_per_second(studio: &Studio) -> f64 {
        let speed = studio.project().unwrap().latency.speed().unwrap();
        speed.tokens_per_second().unwrap().value
    }

    #[test]
    fn nothing_is_told_of_a_machine_that_was_not_measured() {
        let mut studio = with_sample();
        let project = studio.project().unwrap();
        let reason = project.latency.reason().unwrap();
        assert!(reason.contains("not measured yet"), "{reason}");
        assert!(
            project
                .figures
                .iter()
                .all(|figures| figures.latency.is_none())
        );
        assert_eq!(project.totals.latency, None);
        let effects = studio.command(Command::Act(Action::MeasureMachine));
        assert!(
            matches!(&effects[..], [Effect::Start(Job::MeasureMachine { .. })]),
            "{effects:?}"
        );
        assert!(
            Action::MeasureMachine.availability(&studio).is_err(),
            "it is at work"
        );
        let progress = Progress {
            done: 3,
            total: 4,
            ..Progress::default()
        };
        studio.event(Event::Progressed(MEASURING, progress));
        assert_eq!(studio.measuring().unwrap().share, Some(0.75));
        let profile = Box::new(DeviceProfile::builtin()[2].clone());
        studio.event(Event::MachineMeasured(Outcome::Done(profile)));
        assert!(studio.side_job.is_none());
        let project = studio.project().unwrap();
        assert_eq!(studio.devices.find("").name, THIS_MACHINE);
        assert!(project.latency.speed().is_some(), "used at once");
        assert!(project.totals.latency.is_some());
    }

    #[test]
    fn edits_and_other_questions_are_answered_once() {
        let mut studio = chosen(|_| {});
        let (asked, before) = (version(&studio), tokens_per_second(&studio));
        studio.command(Command::SelectLayers(vec![3]));
        studio.command(Command::Filter("q_proj".to_owned()));
        assert_eq!(version(&studio), asked, "the answer is the same");
        edit(&mut studio, 30, LayerEdit::Bits(8));
        assert_eq!(version(&studio), asked + 1);
        assert!(
            tokens_per_second(&studio) <= before,
            "more bits are no faster"
        );
        let mut preferences = studio.preferences.clone();
        preferences.context_tokens = 16;
        studio.command(Command::Prefer(preferences.clone()));
        assert_eq!(version(&studio), asked + 2);
        preferences.scale = 1.5;
        studio.command(Command::Prefer(preferences));
        assert_eq!(version(&studio), asked + 2, "looks change no speed");
        studio.command(Command::Act(Action::Undo));
        assert_eq!(version(&studio), asked + 3);
    }

    #[test]
    fn totals_are_sums_of_what_layers_take() {
        let mut studio = chosen(|_| {});
        let layers: Vec<usize> = studio.project().unwrap().rows.visible[1..4].to_vec();
        studio.command(Command::SelectLayers(layers.clone()));
        let project = studio.project().unwrap();
        let each = layers
            .iter()
            .map(|&layer| project.figures[layer].latency.unwrap().value);
        let selected = project.selected_totals.latency.unwrap();
        assert!((selected.value - each.sum::<f64>()).abs() < 1e-12);
        assert_eq!(selected.mark, Mark::Estimated);
    }

    #[test]
    fn the_cache_of_keys_and_values_is_one_step_and_counts() {
        let mut studio = chosen(|_| {});
        let kept = |studio: &Studio| {
            let speed = studio.project().unwrap().latency.speed().unwrap();
            speed.estimate.memory_bytes.kv_cache
        };
        let before = kept(&studio);
        studio.command(Command::SetKvCache(KvCache::F16));
        assert_eq!(kept(&studio), before / 2);
        let label = studio
            .project()
            .unwrap()
            .history
            .undo_label()
            .map(str::to_owned);
        assert_eq!(label.as_deref(), Some("keep keys and values in f16"));
        studio.command(Command::Act(Action::Undo));
        assert_eq!(kept(&studio), before);
    }

    #[test]
    fn threads_and_prompts_are_within_what_there_is() {
        let studio = chosen(|preferences| {
            preferences.engine_threads = Some(1);
            preferences.prompt_tokens = 1_000_000;
            preferences.context_tokens = 1_000_000;
        });
        let project = studio.project().unwrap();
        let estimate = &project.latency.speed().unwrap().estimate;
        let longest = project.inspection.context_length.unwrap();
        assert_eq!(
            (estimate.threads, estimate.context, estimate.prompt),
            (1, longest, longest)
        );
    }

    #[test]
    fn devices_that_cannot_be_read_are_told_of() {
        let mut studio = with_sample();
        let own = Err("the table is broken".to_owned());
        let effects = studio.event(Event::DevicesFound {
            machine: None,
            free_bytes: Some(123_000_000),
            own,
        });
        assert!(matches!(&effects[..], [Effect::Toast(..)]), "{effects:?}");
        let demand = studio.project().unwrap().latency.demand.unwrap();
        assert_eq!(
            demand.room_bytes,
            Some(123_000_000),
            "known before anything is measured"
        );
        assert!(demand.spare_bytes().unwrap() > 0, "{demand:?}");
        assert_eq!(
            studio.devices.problem.as_deref(),
            Some("the table is broken")
        );
    }
}
