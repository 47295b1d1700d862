//! Moments of one input as a safetensors file: an f32 upper triangle, its vectors and a count.
//!
//! Knows no cache and no keys. Bytes may come from anywhere: what does not fit is an error.

use crate::grid::ScaleDtype;
use crate::moments::Moments;
use crate::packed::floats;
use crate::tensor::Symmetric;
use safetensors::tensor::{SafeTensors, TensorView, serialize_to_file};
use std::io;
use std::path::Path;

const VECTORS: [&str; 3] = ["mean_square", "mean_abs", "abs_max"];

/// Writes the moments of one input.
pub(super) fn write_moments(path: &Path, moments: &Moments) -> io::Result<()> {
    let count = moments.count.to_le_bytes();
    let values = [
        moments.gram.upper(),
        &moments.mean_square,
        &moments.mean_abs,
        &moments.abs_max,
    ];
    let bytes: Vec<Vec<u8>> = values
        .iter()
        .map(|values| floats::to_bytes(values, ScaleDtype::F32))
        .collect();
    let names = ["gram_upper"].into_iter().chain(VECTORS);
    let mut views = names
        .zip(&bytes)
        .map(|(name, bytes)| {
            Ok((
                name,
                TensorView::new(safetensors::Dtype::F32, vec![bytes.len() / 4], bytes)?,
            ))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(io::Error::other)?;
    let count_view =
        TensorView::new(safetensors::Dtype::U64, vec![1], &count).map_err(io::Error::other)?;
    views.push(("count", count_view));
    serialize_to_file(views, None, path).map_err(io::Error::other)
}

/// Reads the moments of an input of `width` features; the error is the end of a sentence.
pub(super) fn read_moments(bytes: &[u8], width: usize) -> Result<Moments, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    let tensor = |name: &str| file.tensor(name).map_err(|error| error.to_string());
    let floats = |name: &str, expected: usize| {
        let view = tensor(name)?;
        if view.dtype() != safetensors::Dtype::F32 || view.shape() != [expected] {
            return Err(format!(
                "{name} is {:?} {:?} instead of f32 [{expected}]",
                view.dtype(),
                view.shape()
            ));
        }
        Ok(floats::from_bytes(view.data(), ScaleDtype::F32))
    };
    let count = tensor("count")?;
    let count: [u8; 8] = count
        .data()
        .try_into()
        .map_err(|_| "count is not one u64".to_owned())?;
    let gram: Vec<f32> = floats("gram_upper", Symmetric::stored_len(width))?;
    let [mean_square, mean_abs, abs_max] = VECTORS.map(|name| floats(name, width));
    Ok(Moments {
        count: u64::from_le_bytes(count),
        gram: Symmetric::new(width, gram),
        mean_square: mean_square?,
        mean_abs: mean_abs?,
        abs_max: abs_max?,
    })
}
