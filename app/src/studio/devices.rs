//! The devices that speed and memory can be told for: this machine, a person's own, and the engine's table.
//!
//! Profiles are the engine's; this only lists and finds them. Knows no file and no formula.

use pare_engine::device::{Basis, DeviceProfile};
use std::sync::Arc;

/// The first device: the one that Pare runs on.
pub const THIS_MACHINE: &str = "This machine";

/// All devices.
#[derive(Debug, Clone)]
pub struct Devices {
    machine: Option<Arc<DeviceProfile>>,
    /// Memory that was free on this machine when Pare began, where the system tells.
    free_bytes: Option<u64>,
    own: Vec<Arc<DeviceProfile>>,
    table: Vec<Arc<DeviceProfile>>,
    /// Why a person's own devices are not listed, if so.
    pub problem: Option<String>,
}

/// Where a device comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Pare runs on it.
    ThisMachine,
    /// A person told of it.
    Own,
    /// The engine knows it.
    Table,
}

/// A device of the list.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// What preferences keep and lists show.
    pub name: &'a str,
    /// Where it comes from.
    pub origin: Origin,
    /// Its numbers; `None` for this machine while it is not measured.
    pub profile: Option<&'a Arc<DeviceProfile>>,
    /// Memory that it has, where known.
    pub memory_bytes: Option<u64>,
}

impl Default for Devices {
    fn default() -> Self {
        let table = DeviceProfile::builtin().iter().cloned().map(Arc::new);
        Self {
            machine: None,
            free_bytes: None,
            own: Vec::new(),
            table: table.collect(),
            problem: None,
        }
    }
}

impl Devices {
    /// This machine first, then a person's own, then the table.
    pub fn all(&self) -> impl Iterator<Item = Entry<'_>> {
        let entry = |origin| {
            move |profile| Entry {
                name: profile_name(profile),
                origin,
                profile: Some(profile),
                memory_bytes: Some(profile.memory_bytes()),
            }
        };
        let own = self.own.iter().map(entry(Origin::Own));
        // What a person says of a device counts more than what the table says.
        let is_new =
            |device: &&Arc<DeviceProfile>| self.own.iter().all(|own| own.name != device.name);
        let table = self.table.iter().filter(is_new).map(entry(Origin::Table));
        std::iter::once(self.this_machine()).chain(own).chain(table)
    }

    /// The device of that name; this machine where there is none of that name.
    pub fn find(&self, name: &str) -> Entry<'_> {
        let found = self.all().find(|entry| entry.name == name);
        found.unwrap_or_else(|| self.this_machine())
    }

    /// The device that Pare runs on.
    pub fn this_machine(&self) -> Entry<'_> {
        let machine = self.machine.as_ref();
        Entry {
            name: THIS_MACHINE,
            origin: Origin::ThisMachine,
            profile: machine,
            memory_bytes: machine
                .map(|profile| profile.memory_bytes())
                .or(self.free_bytes),
        }
    }

    /// This machine was measured; `None` where nothing that was measured holds any more.
    pub fn set_machine(&mut self, profile: Option<DeviceProfile>) {
        self.machine = profile.map(Arc::new);
    }

    /// So much memory is free on this machine.
    pub fn set_free(&mut self, bytes: Option<u64>) {
        self.free_bytes = bytes;
    }

    /// A person's own devices were read, or could not be.
    pub fn set_own(&mut self, read: Result<Vec<DeviceProfile>, String>) {
        (self.own, self.problem) = match read {
            Ok(own) => (own.into_iter().map(Arc::new).collect(), None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
    }

    /// Whether this machine was measured.
    pub fn is_measured(&self) -> bool {
        self.machine.is_some()
    }
}

impl Entry<'_> {
    /// Where its numbers come from, in a word or two.
    pub fn basis(&self) -> &'static str {
        match (self.profile, self.origin) {
            (None, _) => "not measured yet",
            (Some(_), Origin::ThisMachine) => "measured here",
            (Some(_), Origin::Own) => "yours",
            (Some(profile), Origin::Table) => basis_of(profile).word(),
        }
    }
}

fn profile_name(profile: &Arc<DeviceProfile>) -> &str {
    &profile.name
}

/// How the bandwidth is known, which decides most.
fn basis_of(profile: &DeviceProfile) -> Basis {
    let first = profile.engines.first();
    first.map_or(Basis::Inferred, |engine| engine.bandwidth_gb_per_s.basis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn this_machine_is_first_and_stands_in_for_unknown_names() {
        let devices = Devices::default();
        let first = devices.all().next().unwrap();
        assert_eq!(
            (first.name, first.origin),
            (THIS_MACHINE, Origin::ThisMachine)
        );
        assert!(first.profile.is_none(), "nothing was measured");
        for name in ["", "no such thing", THIS_MACHINE] {
            assert_eq!(devices.find(name).name, THIS_MACHINE, "{name:?}");
        }
        let last = devices.all().last().unwrap().name.to_owned();
        assert_eq!(devices.find(&last).name, last);
    }

    #[test]
    fn a_persons_own_devices_stand_in_for_those_of_the_table() {
        let mut devices = Devices::default();
        let known = devices.table[0].as_ref().clone();
        let count = devices.all().count();
        devices.set_own(Ok(vec![known.clone()]));
        assert_eq!(devices.all().count(), count);
        assert_eq!(devices.find(&known.name).origin, Origin::Own);
        devices.set_own(Err("no".to_owned()));
        assert_eq!(devices.find(&known.name).origin, Origin::Table);
        assert_eq!(devices.problem.as_deref(), Some("no"));
        devices.set_machine(Some(known));
        assert!(devices.is_measured() && devices.find("").profile.is_some());
    }
}
