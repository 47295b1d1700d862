//! What layers are called inside the classes by which transformers runs a network: not always as a checkpoint calls them.
//!
//! A checkpoint may be of the bare network where the class has a head (GPT-2 stores `h.0.…`, its class for text has
//! `transformer.h.0.…`), or the other way round (BERT stores `bert.encoder.…`, the class for hidden states has
//! `encoder.…`). Whatever stands beside a model and is loaded into such a class is named after the class.

use super::Model;
use super::layers::LayerInfo;

impl Model {
    /// What a layer of a block is called inside the class for its task: `AutoModelForCausalLM` of a decoder, `AutoModel`
    /// of an encoder. Tensors outside blocks keep their names.
    pub fn module_name(&self, layer: &LayerInfo) -> String {
        let inner = layer.name.strip_prefix(self.prefix);
        match inner.filter(|_| layer.block.is_some()) {
            Some(inner) => format!("{}{inner}", self.class_prefix()),
            None => layer.name.clone(),
        }
    }

    /// The layer of a block that has this name there, or in the checkpoint.
    pub fn layer_of_module(&self, module: &str) -> Option<&LayerInfo> {
        let layers = || self.layers.iter().filter(|layer| layer.block.is_some());
        let mut named = layers().filter(|layer| self.module_name(layer) == module);
        named
            .next()
            .or_else(|| layers().find(|layer| layer.name == module))
    }

    fn class_prefix(&self) -> &'static str {
        match self.is_encoder() {
            true => "",
            false => self.config.family.names().prefixes[0],
        }
    }
}
