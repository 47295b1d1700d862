//! `inspect`, and what else is known of a model from headers alone.

use super::Session;
use super::requests::{DtypeShare, InspectedLayer, Inspection, NetworkShape};
use crate::model::{LayerInfo, Model};
use crate::tensor::{Dtype, WeightSource as _};

impl Session {
    /// What is in the model. Reads no tensor data.
    pub fn inspect(&self) -> Inspection {
        let names = self.checkpoint.names().into_iter();
        let tensors = names.filter_map(|name| {
            let info = self.checkpoint.info(&name)?;
            Some((self.stored_as(&name, info.dtype), info))
        });
        let mut shares: Vec<(String, u64)> = Vec::new();
        let (mut parameters, mut bytes) = (0, 0);
        for (word, info) in tensors {
            parameters += info.elements();
            bytes += info.size_bytes;
            match shares.iter_mut().find(|(known, _)| *known == word) {
                Some((_, share)) => *share += info.size_bytes,
                None => shares.push((word, info.size_bytes)),
            }
        }
        shares.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let config = self.model.as_ref().ok().map(|model| model.config());
        Inspection {
            model: self.path.display().to_string(),
            family: config.map(|config| config.family.name().to_owned()),
            reason: self.model.as_ref().err().cloned(),
            parameters,
            bytes,
            dtypes: shares
                .into_iter()
                .map(|(dtype, bytes)| DtypeShare { dtype, bytes })
                .collect(),
            context_length: self.context_length(),
            notes: self.checkpoint.notes().to_vec(),
            layers: self
                .layers
                .iter()
                .map(|layer| self.inspect_layer(layer))
                .collect(),
        }
    }

    /// The numbers that decide what running the network takes; `None` where it cannot be run.
    pub fn shape(&self) -> Option<NetworkShape> {
        let config = self.model.as_ref().ok()?.config();
        Some(NetworkShape {
            blocks: config.blocks,
            hidden: config.hidden,
            heads: config.heads,
            kv_heads: config.kv_heads,
            head_dim: config.head_dim,
            vocabulary: config.vocabulary,
            context_length: config.context_length,
        })
    }

    /// Whether the network gives hidden states instead of logits; not where it cannot be run.
    pub fn is_encoder(&self) -> bool {
        self.model.as_ref().is_ok_and(Model::is_encoder)
    }

    /// Longest context; `None` where unknown.
    pub fn context_length(&self) -> Option<usize> {
        self.shape().map(|shape| shape.context_length)
    }

    /// A tensor's dtype, or the type of ggml's blocks that it lies in.
    fn stored_as(&self, tensor: &str, dtype: Dtype) -> String {
        let blocks = self.checkpoint.block_type(tensor);
        match blocks.filter(|kind| kind.is_quantized()) {
            Some(kind) => kind.word().to_lowercase(),
            None => dtype.to_string(),
        }
    }

    fn inspect_layer(&self, layer: &LayerInfo) -> InspectedLayer {
        let stored = self
            .checkpoint
            .info(&layer.tensor)
            .map(|info| info.shape)
            .unwrap_or_default();
        InspectedLayer {
            name: layer.name.clone(),
            role: layer.role.as_str().to_owned(),
            block: layer.block,
            shape: if stored.len() == 2 {
                vec![layer.rows, layer.columns]
            } else {
                stored
            },
            dtype: self.stored_as(&layer.tensor, layer.dtype),
            parameters: layer.parameters,
            bytes: layer.size_bytes,
            compressible: layer.compressible,
        }
    }
}
