//! `pare bench`.
