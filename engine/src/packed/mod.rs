//! Solved layers as bytes and back: `unpack(pack(x)) = x`.
//!
//! A packed layer is a `LayerManifest` and its named byte tensors (`Part`). They lie in a safetensors file as
//! `<dense tensor name>.<suffix>`, and the manifest of all layers is JSON in the file's `__metadata__` under `pare`:
//!
//! | suffix | dtype | shape | what |
//! | --- | --- | --- | --- |
//! | `codes` | u8 | `[out, ceil(in * bits / 8)]` | bit stream of each row, low bits first (`bits`) |
//! | `values` | f16, bf16, f32, f64 | `[out, in]` | weights that stay floats, in place of codes |
//! | `scales` | f16, bf16, f32 | `[out, groups]` | affine grids |
//! | `zeros` | u8 | `[out, ceil(groups * bits / 8)]` | bit stream of whole zeros; none for symmetric grids |
//! | `zeros` | as scales | `[out, groups]` | fractional zeros (HQQ) |
//! | `absmax` | f32 | `[out, blocks]` | NF4 |
//! | `absmax_codes`, `absmax_scales`, `absmax_offset` | i8, f32, f32 | `[out, blocks]`, `[ceil(out * blocks / 256)]`, `[1]` | NF4, double quantization |
//! | `levels` | f16, bf16, f32 | `[palettes, 2^bits]` | palettes, each ascending; one for so many rows, 0 = for all |
//! | `positions` | u8 | `[out, ceil(groups * choice_bits / 8)]` | N:M zeros: which of every M are kept (`combinations`) |
//! | `kept` | u8 | `[out, ceil(in / 8)]` | unstructured zeros: a bit for each weight of a row, low bits first |
//! | `kept` | u8 | `[out, ceil(ceil(in / 4) / 8)]` | zeros in blocks 1x4: a bit for each block |
//! | `factor_outer`, `factor_inner` | f16, bf16, f32 | `[out, rank]`, `[rank, in]` | what is added to codes and zeros |
//! | `activation_step` | f32 | `[1]` | inputs of a fixed scale: the value of one step of their 8 bits |
//!
//! A weight is `(kept ? grid(code) : 0) + outer * inner`. A layer with zeros says so under `sparsity`:
//! `{"pattern": "2:4", "values": 2048}`, and then `codes` or `values` hold what is kept and nothing else, in row order:
//! `[out, ceil(kept * bits / 8)]` (`values`: `[out, kept]`) of N:M, where every row keeps as many, else one stream
//! `[ceil(values * bits / 8)]` (`[values]`) over all rows. A block that the end of a row cuts is stored whole, with zeros
//! behind the end. Grids keep the groups of the whole row. Factors stand under `factors`:
//! `{"rank": 16, "dtype": "f16"}`; without codes or values (`{"kind": "nothing"}`) they are all there is.
//!
//! A layer that rounds its inputs when it runs says so under `activations`: `{"mode": "dynamic8", "block": 32}` (a scale
//! for so many inputs of a token, 0 = all of them) or `{"mode": "static8"}`. Without the key inputs stay floats.
//!
//! The layouts of other programs are under `external`. Knows no file: `checkpoint` reads and `formats` writes what is made here.

mod activations;
pub mod awq;
pub mod bits;
mod blocks;
pub mod bnb;
mod combinations;
pub mod compressed_tensors;
mod error;
mod external;
pub mod floats;
mod form;
pub mod gptq;
mod kind;
mod manifest;
mod matmul;
pub mod mlx;
mod pack;
mod source;
mod sparse;
mod stored;
mod unpack;
mod whole;
mod words;

pub use activations::{ActivationKind, ActivationPlan, unpack_activations};
pub use blocks::{Blocks, Change, Order};
pub use error::{PackError, UnpackError};
pub use external::{External, ExternalLayer};
pub use form::{FLOAT_BYTES, Form};
pub use kind::{CodeKind, PartSpec};
pub use manifest::{
    LayerManifest, MANIFEST_VERSION, METADATA_KEY, Manifest, Origin, OriginalTensor,
};
pub use matmul::{PackedMatrix, PreparedInput, multiply_all, rounded_inputs};
pub use pack::pack;
pub use source::PackedSource;
pub use stored::{FactorKind, Sparsity, Stored};
pub use unpack::unpack;

use crate::tensor::Dtype;
use kind::dtype_of_scales;
use unpack::{find_part, wrong_part};

/// One byte tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name after the dense tensor's name and a dot.
    pub suffix: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Little-endian bytes.
    pub bytes: Vec<u8>,
}

impl PartSpec {
    /// The part that these bytes make.
    pub fn filled(self, bytes: Vec<u8>) -> Part {
        Part {
            suffix: self.suffix.to_owned(),
            dtype: self.dtype,
            shape: self.shape,
            bytes,
        }
    }
}

/// A layer as bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedLayer {
    /// What the parts mean.
    pub manifest: LayerManifest,
    /// The byte tensors, in the order of `LayerManifest::parts`.
    pub parts: Vec<Part>,
}

#[cfg(test)]
mod tests;
