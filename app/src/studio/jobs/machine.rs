//! Measuring this machine, and finding what was measured before beside a person's own devices.

use super::Office;
use super::long::outcome;
use super::watch::Watcher;
use crate::studio::event::{Event, Outcome};
use crate::studio::places;
use crate::studio::runs::{Control, MEASURING};
use pare_engine::device;
use pare_engine::session::{self, SessionOptions};
use std::sync::Arc;

/// Measures, keeps what was measured beside other caches, and tells it.
pub(super) fn measure(options: &SessionOptions, control: Arc<Control>, office: &Office) {
    let watcher = Watcher::new(MEASURING, 0, office.outbox.clone(), control);
    let measured = match outcome(session::measure_machine(options, &watcher)) {
        Outcome::Done(profile) => Outcome::Done(Box::new(profile)),
        Outcome::Stopped => Outcome::Stopped,
        Outcome::Failed(reason) => Outcome::Failed(reason),
    };
    office.outbox.send(Event::MachineMeasured(measured));
}

/// Tells what was measured before, and a person's own devices where there is a table of them.
pub(super) fn find(options: &SessionOptions, office: &Office) {
    let table = office.data_folder.as_deref().map(places::devices_table);
    let own = match table.filter(|table| table.is_file()) {
        None => Ok(Vec::new()),
        Some(table) => device::read_table(&table).map_err(|error| error.to_string()),
    };
    office.outbox.send(Event::DevicesFound {
        machine: session::find_profile(options).map(Box::new),
        free_bytes: session::available_memory_bytes(),
        own,
    });
}
