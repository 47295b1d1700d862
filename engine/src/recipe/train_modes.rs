//! What modes of training differ in: defaults, and keys that some of them do not look at.

use super::train::{TrainMode, TrainSettings};

/// Learned rounding: steps for each block (Cheng et al. 2023, arXiv 2309.05516, section 4).
const ROUNDING_STEPS: u64 = 200;
/// Scales are learnt relative to what they were, so that their rate does not depend on the size of weights.
const SCALE_RATE: f64 = 3e-3;

impl TrainSettings {
    /// The documented defaults of `mode`.
    pub fn of_mode(mode: TrainMode) -> Self {
        let base = Self {
            mode,
            ..Self::default()
        };
        match mode {
            TrainMode::Weights | TrainMode::Qat | TrainMode::Adapter => base,
            TrainMode::Scales => Self {
                rate: SCALE_RATE,
                ..base
            },
            TrainMode::Round => Self {
                steps: ROUNDING_STEPS,
                rate: 0.0,
                ..base
            },
        }
    }

    /// The same for another mode: what is at the default of the one takes that of the other.
    pub fn in_mode(self, mode: TrainMode) -> Self {
        let (before, after) = (Self::of_mode(self.mode), Self::of_mode(mode));
        Self {
            mode,
            steps: match self.steps == before.steps {
                true => after.steps,
                false => self.steps,
            },
            rate: match self.rate == before.rate {
                true => after.rate,
                false => self.rate,
            },
            ..self
        }
    }

    /// Keys that somebody has set and at which the mode does not look.
    pub fn idle_keys(&self) -> Vec<&'static str> {
        let plain = Self::of_mode(self.mode);
        let of_others = [
            (
                "prune",
                self.mode != TrainMode::Weights && self.prune.is_some(),
            ),
            (
                "adapter",
                self.mode != TrainMode::Adapter && self.adapter != plain.adapter,
            ),
        ];
        // Rounding has its own loss, rule and schedule.
        let of_steps = [
            ("micro_batch", self.micro_batch != plain.micro_batch),
            ("optimizer", self.optimizer != plain.optimizer),
            ("schedule", self.schedule != plain.schedule),
            ("warm_up", self.warm_up != plain.warm_up),
            ("last_rate", self.last_rate != plain.last_rate),
            ("decay", self.decay != plain.decay),
            ("beta1", self.beta1 != plain.beta1),
            ("beta2", self.beta2 != plain.beta2),
            ("epsilon", self.epsilon != plain.epsilon),
            ("clip", self.clip != plain.clip),
            ("temperature", self.temperature != plain.temperature),
            ("hard", self.hard != plain.hard),
            ("ensemble", self.ensemble != plain.ensemble),
            ("hidden", self.hidden != plain.hidden),
            ("attention", self.attention != plain.attention),
            ("cache_top", self.cache_top != plain.cache_top),
            ("held_out", self.held_out != plain.held_out),
            ("check_every", self.check_every != plain.check_every),
            ("patience", self.patience != plain.patience),
            ("save_every", self.save_every != plain.save_every),
            ("skip_limit", self.skip_limit != plain.skip_limit),
            ("states", self.states != plain.states),
        ];
        let own = of_steps.iter().filter(|_| self.mode == TrainMode::Round);
        let idle = of_others.iter().chain(own).filter(|(_, is_set)| *is_set);
        idle.map(|(key, _)| *key).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::recipe::Recipe;

    fn read(lines: &str) -> TrainSettings {
        let text = format!("version = 1\n[train]\n{lines}\n");
        Recipe::parse(&text).unwrap().train.unwrap()
    }

    #[test]
    fn each_mode_has_its_own_defaults_and_keeps_what_was_asked() {
        let rounding = read("mode = \"round\"");
        assert_eq!(rounding, TrainSettings::of_mode(TrainMode::Round));
        assert_eq!((rounding.steps, rounding.rate), (200, 0.0));
        let scales = rounding.in_mode(TrainMode::Scales);
        assert_eq!(scales, TrainSettings::of_mode(TrainMode::Scales));
        let asked = read("steps = 30\nrate = 0.5").in_mode(TrainMode::Round);
        assert_eq!((asked.steps, asked.rate), (30, 0.5));
    }

    #[test]
    fn keys_without_meaning_are_found_by_mode() {
        let lines = "temperature = 2.0\nhard = 0.5\npatience = 3";
        assert_eq!(read(lines).idle_keys(), [""; 0]);
        let rounding = read(&format!("mode = \"round\"\n{lines}"));
        assert_eq!(rounding.idle_keys(), ["temperature", "hard", "patience"]);
        let pruned = "prune = { pattern = \"2:4\" }\nadapter = { rank = 4 }";
        assert_eq!(read(pruned).idle_keys(), ["adapter"]);
        let qat = read(&format!("mode = \"qat\"\n{pruned}"));
        assert_eq!(qat.idle_keys(), ["prune", "adapter"]);
        for mode in ["weights", "scales", "round", "qat", "adapter"] {
            let plain = read(&format!("mode = {mode:?}"));
            assert_eq!(plain.idle_keys(), [""; 0], "{mode}");
        }
    }
}
