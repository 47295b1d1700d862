//! Layers that are equal within a tolerance, and so can share their weights.

use crate::distortion::{weight_energy, weight_error};
use crate::tensor::Matrix;

/// For each layer the first one whose weights can stand for its own: itself, or an earlier one of the same shape with
/// `‖A - B‖ <= tolerance ‖B‖`. Layers that stand for others stand for themselves.
pub fn tied_layers(layers: &[&Matrix], tolerance: f64) -> Vec<usize> {
    let mut stands_for: Vec<usize> = Vec::with_capacity(layers.len());
    for (index, layer) in layers.iter().enumerate() {
        let allowed = tolerance * tolerance * weight_energy(layer);
        let can_share = |earlier: usize| {
            let other = layers[earlier];
            let same_shape = (other.rows(), other.columns()) == (layer.rows(), layer.columns());
            same_shape && weight_error(other, layer) <= allowed
        };
        let own = |&earlier: &usize| stands_for[earlier] == earlier;
        let found = (0..index).filter(own).find(|&earlier| can_share(earlier));
        stands_for.push(found.unwrap_or(index));
    }
    stands_for
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_layers_of_one_shape_share() {
        let layer = |values: [f32; 4]| Matrix::new(2, 2, values.to_vec());
        let layers = [
            layer([1.0, 2.0, 3.0, 4.0]),
            layer([1.0, 2.0, 3.0, 4.01]),
            layer([4.0, 3.0, 2.0, 1.0]),
            Matrix::new(1, 4, vec![1.0, 2.0, 3.0, 4.0]),
            layer([4.0, 3.0, 2.0, 1.0]),
        ];
        let layers: Vec<&Matrix> = layers.iter().collect();
        assert_eq!(tied_layers(&layers, 0.01), [0, 0, 2, 3, 2]);
        assert_eq!(tied_layers(&layers, 0.0), [0, 1, 2, 3, 2]);
    }
}
