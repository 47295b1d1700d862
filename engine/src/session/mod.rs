//! One open model and the jobs a person asks for. (Being built: signatures are settled, bodies follow.)

mod requests;

pub use requests::*;
