//! The studio without a window: what is open, what a person asked for, what came back.
//!
//! Faces (a window, a test) read `&Studio` and send `Command`s; workers send `Event`s. `Studio::command` and
//! `Studio::event` change the state and return `Effect`s; nothing else happens there: no file, no thread, no egui.
//!
//! ```text
//! face --Command--> Studio --Effect--> worker (lanes of named threads) --Event--> Studio
//!
//! worker         lanes of named threads; runs jobs, keeps the latest progress
//! jobs           what a lane does for each job (may block, may read files)
//! update         Command | Event -> state -> Effects; pure
//! state          Studio: everything a face can show
//! project        an open model: what is chosen, known, selected
//! command · event · effect · action · shortcut · copy
//! draft · layer_edit · sparse · compose · comparison · history · selection · filter · rows · estimates · quality · runs · log · figure · view
//! sensitivity    how much each layer hurts, and what of the draft that is known for
//! latency        speed and memory of the draft on the chosen device
//! kept           a draft as it is kept between sessions
//! similarity     how little each block changes what passes through it
//! smaller        bytes of drafts that take parts out of the network
//! steps          what a draft saves and loses step by step: structure, zeros, codes, factors
//! proposal       bits proposed within a budget, not yet in the draft
//! train          what is to be trained, and what training told
//! store          one SQLite file: runs, settings, drafts
//! places · sample · preferences · devices · request
//! ```

pub mod action;
pub mod command;
pub mod comparison;
pub mod compose;
pub mod copy;
pub mod devices;
pub mod draft;
pub mod effect;
pub mod estimates;
pub mod event;
pub mod figure;
pub mod filter;
pub mod history;
pub mod jobs;
pub mod kept;
pub mod latency;
pub mod layer_edit;
pub mod log;
pub mod places;
pub mod preferences;
pub mod project;
pub mod proposal;
pub mod quality;
pub mod request;
pub mod rows;
pub mod runs;
pub mod sample;
pub mod selection;
pub mod sensitivity;
pub mod shortcut;
pub mod similarity;
pub mod smaller;
pub mod sparse;
pub mod state;
pub mod steps;
pub mod store;
pub mod train;
mod update;
pub mod view;
pub mod worker;

pub use action::Action;
pub use command::Command;
pub use draft::{Draft, LayerEdit};
pub use effect::Effect;
pub use event::Event;
pub use project::Project;
pub use state::{Phase, Studio};
