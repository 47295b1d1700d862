//! A planned GGUF file becomes bytes, one tensor at a time: what may go on as it is in pieces, all else made whole.
//!
//! Knows no run folder: whoever calls says where solved layers and replaced tensors come from.

use super::container::ALIGNMENT;
use super::plan::{GgufPart, GgufPlan, Origin};
use super::{fitted, split, types};
use crate::checkpoint::gguf::names::Change;
use crate::formats::emit;
use crate::formats::store::{StoreError, atomic};
use crate::ggml;
use crate::moments::Moments;
use crate::report::Observer;
use crate::solved::{Grid, Solved};
use crate::tensor::{Matrix, WeightSource};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Bytes that are copied at a time: few enough to stay in a processor's cache.
const PIECE_BYTES: usize = 1 << 20;

/// Bytes of a piece that a digest is made of.
const DIGESTED_BYTES: usize = 1 << 20;

/// What a tensor is made of.
#[derive(Debug)]
pub(super) enum Material {
    /// A solved layer, `[out, in]`.
    Solved(Box<Solved>),
    /// Values as transformers has them.
    Values(Vec<f32>),
    /// Bytes of the source in the file's type, rows in the source's order.
    Rows(Vec<u8>),
}

/// Which bytes of the source may go on as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AsItIs {
    /// None: values are asked for.
    No,
    /// Blocks of ggml, where they lie.
    Blocks,
    /// Floats, where they lie.
    Floats,
    /// Floats, in rows that lie elsewhere.
    MovedRows,
}

/// The source's tensor, raised to floats or not.
pub(super) fn of_source(
    source: &dyn WeightSource,
    tensor: &str,
    as_it_is: AsItIs,
) -> Result<Material, StoreError> {
    if as_it_is == AsItIs::MovedRows
        && let Some(info) = source.info(tensor)
    {
        let mut bytes = vec![0; info.elements() as usize * info.dtype.size_bytes()];
        source.read_bytes(tensor, 0, &mut bytes)?;
        return Ok(Material::Rows(bytes));
    }
    Ok(Material::Values(source.read_f32(tensor)?))
}

/// Where material comes from.
pub(super) trait Materials {
    /// The material of a tensor of the source, bytes only where they may go on as they are.
    fn material(&self, tensor: &str, as_it_is: AsItIs) -> Result<Material, StoreError>;
    /// The model that others come from.
    fn source(&self) -> &dyn WeightSource;
    /// Whether a tensor is no longer what the source has.
    fn is_new(&self, tensor: &str) -> Result<bool, StoreError>;
    /// The importance of a tensor's inputs, where known.
    fn importance(&self, tensor: &str) -> Option<&[f32]>;
    /// All moments of a tensor's inputs, where known.
    fn moments(&self, tensor: &str) -> Result<Option<Moments>, StoreError>;
}

/// What was written, to be found again: a digest of each tensor's bytes.
pub(super) type Digests = HashMap<String, [u8; 32]>;

/// Writes the files, of which one alone lies at `path`, each atomically; on a failure none stays.
pub(super) fn write(
    path: &Path,
    plan: &GgufPlan,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<Digests, StoreError> {
    let mut digests = Digests::new();
    let paths = split::paths(path, plan.files.len());
    for (number, (file, path)) in plan.files.iter().zip(&paths).enumerate() {
        let written = atomic::write_file(path, |output| {
            let failed = StoreError::io("could not be written", path);
            output.write_all(&file.header).map_err(&failed)?;
            for index in file.parts.clone() {
                observer.check()?;
                let part = &plan.parts[index];
                match copied(part, materials)? {
                    Some(tensor) => pieces(part, tensor, materials, &mut |_, piece| {
                        output.write_all(piece).map_err(&failed)
                    })?,
                    None => {
                        let bytes = part_bytes(part, materials, observer)?;
                        digests.insert(part.name.clone(), digest(&bytes));
                        output.write_all(&bytes).map_err(&failed)?;
                    }
                }
                let padding = part.size_bytes.next_multiple_of(ALIGNMENT) - part.size_bytes;
                output
                    .write_all(&[0; ALIGNMENT as usize][..padding as usize])
                    .map_err(&failed)?;
                observer.step(index as u64 + 1, plan.parts.len() as u64);
            }
            Ok(())
        });
        if let Err(error) = written {
            remove(&paths[..number]);
            return Err(error);
        }
    }
    Ok(digests)
}

/// Takes files away that are no good. Best effort: the error that is returned beside says what to do.
pub(super) fn remove(paths: &[PathBuf]) {
    for path in paths {
        let _ = std::fs::remove_file(path);
    }
}

/// The tensor of the source whose bytes a part is.
pub(super) fn copied<'a>(
    part: &'a GgufPart,
    materials: &dyn Materials,
) -> Result<Option<&'a str>, StoreError> {
    match (part.tensor(), part.as_it_is) {
        (Some(tensor), AsItIs::Blocks | AsItIs::Floats) if !materials.is_new(tensor)? => {
            Ok(Some(tensor))
        }
        _ => Ok(None),
    }
}

/// Takes a piece and where it begins.
type Taker<'a> = dyn FnMut(u64, &[u8]) -> Result<(), StoreError> + 'a;

/// The bytes of a copied part, piece by piece with their places.
pub(super) fn pieces(
    part: &GgufPart,
    tensor: &str,
    materials: &dyn Materials,
    take: &mut Taker<'_>,
) -> Result<(), StoreError> {
    let source = materials.source();
    let mut buffer = vec![0; part.size_bytes.min(PIECE_BYTES as u64) as usize];
    let mut offset = 0;
    while offset < part.size_bytes {
        let piece = &mut buffer[..(part.size_bytes - offset).min(PIECE_BYTES as u64) as usize];
        match part.as_it_is {
            AsItIs::Blocks => source.read_blocks(tensor, offset, piece)?,
            _ => source.read_bytes(tensor, offset, piece)?,
        }
        take(offset, piece)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

/// SHA-256 of the digests of pieces, which any number of threads can make.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    let pieces: Vec<[u8; 32]> = bytes
        .par_chunks(DIGESTED_BYTES)
        .map(|piece| Sha256::digest(piece).into())
        .collect();
    Sha256::digest(pieces.concat()).into()
}

/// The bytes of one tensor.
pub(super) fn part_bytes(
    part: &GgufPart,
    materials: &dyn Materials,
    observer: &dyn Observer,
) -> Result<Vec<u8>, StoreError> {
    let tensor = match &part.origin {
        Origin::Made(values) => return Ok(encode(part, values, None)),
        Origin::Tensor(tensor) => tensor,
    };
    let mut is_pruned = false;
    let values = match materials.material(tensor, part.as_it_is)? {
        Material::Rows(bytes) => {
            return Ok(each_row(part, |row, output| {
                output.copy_from_slice(&bytes[row * output.len()..(row + 1) * output.len()]);
            }));
        }
        Material::Solved(solved) => match &solved.grid {
            Grid::Affine(grid) if types::of_solved(&solved) == Some(part.kind) => {
                return Ok(each_row(part, |row, bytes| {
                    types::pack_row(part.kind, &solved, grid, row, bytes);
                }));
            }
            _ => {
                is_pruned = solved.mask.is_some();
                emit::dense_values(&solved, false).into_data()
            }
        },
        Material::Values(values) => match part.order.change {
            Change::Transposed if part.shape.len() == 2 => {
                // In the source: `[in, out]`.
                Matrix::new(part.shape[1], part.shape[0], values)
                    .transposed()
                    .into_data()
            }
            Change::PlusOne => values.iter().map(|value| value + 1.0).collect(),
            _ => values,
        },
    };
    // Codes that make up for each other's errors would fill zeros again.
    let is_moved = part.shape.len() == 2 && ggml::grid_of(part.kind).is_some() && !is_pruned;
    let moments = match is_moved {
        true => materials.moments(tensor)?,
        false => None,
    };
    if let Some(moments) = moments.filter(|moments| moments.width() == part.columns()) {
        let weights = Matrix::new(part.shape[0], part.columns(), values);
        return fitted::encode(part, &weights, &moments, observer);
    }
    let importance = materials.importance(tensor);
    let importance = importance.filter(|importance| importance.len() == part.columns());
    Ok(encode(part, &values, importance))
}

/// Rows `[out, in]` of the source as blocks, in the file's order.
fn encode(part: &GgufPart, values: &[f32], importance: Option<&[f32]>) -> Vec<u8> {
    let columns = if part.shape.len() < 2 {
        1
    } else {
        part.columns()
    };
    each_row(part, |row, bytes| {
        let values = &values[row * columns..(row + 1) * columns];
        ggml::encode_row(part.kind, values, importance, bytes);
    })
}

/// Fills each row of the file from a row of the source. A vector is so many rows of one value.
pub(super) fn each_row(part: &GgufPart, fill: impl Fn(usize, &mut [u8]) + Sync) -> Vec<u8> {
    let rows: usize = match part.shape.as_slice() {
        [only] => *only,
        [] => 1,
        [outer @ .., _] => outer.iter().product(),
    };
    let mut bytes = vec![0; part.size_bytes as usize];
    if rows == 0 || bytes.is_empty() {
        return bytes;
    }
    let mut sources = vec![0; rows];
    for row in 0..rows {
        sources[part.order.stored_row(row, rows)] = row;
    }
    let row_bytes = bytes.len() / rows;
    bytes
        .par_chunks_mut(row_bytes)
        .zip(&sources)
        .for_each(|(bytes, &row)| fill(row, bytes));
    bytes
}
