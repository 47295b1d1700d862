//! Paints egui's triangles into a picture in memory: no display, no graphics card, no driver.
//!
//! Knows nothing of widgets, time or files.
