//! Names of modules: those of transformers' classes, whatever the checkpoint says.

use super::memory::Memory;
use super::shapes::{random_model, shapes};
use crate::model::{LayerKind, Model};
use std::sync::Arc;

#[test]
fn modules_are_called_as_in_the_class_whatever_the_checkpoint_says() {
    for (label, config) in shapes() {
        let (parsed, memory, model) = random_model(&config);
        let prefix = parsed.family.names().prefixes[0];
        let bare = |name: &str| name.strip_prefix(prefix).unwrap_or(name).to_owned();
        let tensors = memory.tensors.iter();
        let bare = Memory {
            tensors: tensors
                .map(|(name, tensor)| (bare(name), tensor.clone()))
                .collect(),
        };
        let bare = Model::open(Arc::new(bare), &config).unwrap();
        let names = |model: &Model| -> Vec<String> {
            let layers = model.layers().iter();
            let linear = layers.filter(|layer| layer.kind == LayerKind::Linear);
            linear.map(|layer| model.module_name(layer)).collect()
        };
        assert_eq!(names(&model), names(&bare), "{label}");
        let has_prefix = names(&bare).iter().all(|name| name.starts_with(prefix));
        assert_eq!(has_prefix, !model.is_encoder(), "{label}");
        for model in [&model, &bare] {
            for layer in model.layers().iter().filter(|layer| layer.block.is_some()) {
                let by_module = model.layer_of_module(&model.module_name(layer));
                assert_eq!(by_module, Some(layer), "{label}");
                assert_eq!(model.layer_of_module(&layer.name), Some(layer), "{label}");
            }
        }
    }
}
