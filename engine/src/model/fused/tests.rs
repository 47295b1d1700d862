//! Each fused operation against candle's elementary ones, values and gradients.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::rng::Rng;
use candle_core::{Device, Var};

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = Rng::new(seed, 0);
    let values = (0..shape.iter().product())
        .map(|_| rng.normal() as f32)
        .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Values and gradients of `fused` are those of `slow`, which is made of candle's elementary operations.
fn same(
    label: &str,
    inputs: &[Tensor],
    fused: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    slow: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) {
    let variables: Vec<Var> = inputs
        .iter()
        .map(|t| Var::from_tensor(t).unwrap())
        .collect();
    let tensors: Vec<Tensor> = variables.iter().map(|v| v.as_tensor().clone()).collect();
    let outputs = [fused, slow].map(|f| f(&tensors).unwrap());
    close(label, &outputs[0], &outputs[1]);
    let weights = random(outputs[0].dims(), 99);
    let gradients = outputs.map(|output| {
        let loss = (output * &weights).unwrap().sum_all().unwrap();
        loss.backward().unwrap()
    });
    for (index, tensor) in tensors.iter().enumerate() {
        let [one, other] = [0, 1].map(|which: usize| gradients[which].get(tensor).unwrap());
        close(&format!("{label}, gradient of input {index}"), one, other);
    }
}

fn close(label: &str, found: &Tensor, expected: &Tensor) {
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let (found, expected) = (flat(found), flat(expected));
    assert_eq!(found.len(), expected.len(), "{label}");
    let largest = expected.iter().fold(1e-9f32, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        assert!(
            (found - expected).abs() <= 5e-6 * largest,
            "{label}: {found}, expected {expected}"
        );
    }
}

#[test]
fn norms_equal_the_slow_ones() {
    for width in [3, 8, 33] {
        let inputs = [
            random(&[2, 5, width], 1),
            random(&[width], 2),
            random(&[width], 3),
        ];
        same(
            "rms norm",
            &inputs[..2],
            &|t| t[0].apply_op2(&t[1], RmsNorm { epsilon: 1e-5 }),
            &|t| candle_nn::ops::rms_norm_slow(&t[0], &t[1], 1e-5),
        );
        same(
            "layer norm",
            &inputs,
            &|t| t[0].apply_op3(&t[1], &t[2], LayerNorm { epsilon: 1e-5 }),
            &|t| candle_nn::ops::layer_norm_slow(&t[0], &t[1], &t[2], 1e-5),
        );
    }
}

#[test]
fn softmax_equals_the_slow_one_under_a_mask() {
    let scores = [random(&[2, 3, 8, 10], 1)];
    same(
        "softmax",
        &scores,
        &|t| t[0].apply_op1(Softmax(None)),
        &|t| candle_nn::ops::softmax(&t[0], D::Minus1),
    );
    for (offset, tokens, window) in [(6, 4, 100), (6, 4, 3), (2, 8, 1), (2, 8, 5)] {
        let mask: Vec<f32> = (0..8)
            .flat_map(|row| {
                (0..10).map(move |key| {
                    let query = offset + row % tokens;
                    let seen = key <= query && query - key < window;
                    if seen { 0.0 } else { f32::NEG_INFINITY }
                })
            })
            .collect();
        let mask = Tensor::from_vec(mask, (8, 10), &Device::Cpu).unwrap();
        let visible = Visible {
            offset,
            tokens,
            window,
        };
        same(
            &format!("{visible:?}"),
            &scores,
            &|t| t[0].apply_op1(Softmax(Some(visible))),
            &|t| candle_nn::ops::softmax(&t[0].broadcast_add(&mask)?, D::Minus1),
        );
    }
}

#[test]
fn rotation_equals_the_slow_one() {
    let (cosines, sines) = (random(&[5, 3], 2), random(&[5, 3], 3));
    let slow = |t: &[Tensor]| {
        let turned = t[0].narrow(3, 0, 6)?.transpose(1, 2)?.contiguous()?;
        let turned = candle_nn::rotary_emb::rope_slow(&turned, &cosines, &sines)?;
        Tensor::cat(&[&turned.transpose(1, 2)?, &t[0].narrow(3, 6, 2)?], 3)
    };
    same(
        "rotation",
        &[random(&[2, 5, 4, 8], 1)],
        &|t| t[0].apply_op3(&cosines, &sines, Rotate),
        &slow,
    );
}

#[test]
fn activations_equal_the_slow_ones() {
    let inputs = [random(&[3, 40], 1), random(&[3, 40], 2)];
    type Slow = fn(&Tensor) -> Result<Tensor>;
    let cases: [(Activation, Slow); 4] = [
        (Activation::Silu, |t| t.silu()),
        (Activation::GeluErf, |t| t.gelu_erf()),
        (Activation::GeluTanh, |t| t.gelu()),
        (Activation::Relu, |t| t.relu()),
    ];
    for (kind, slow) in cases {
        let label = format!("{kind:?}");
        same(
            &label,
            &inputs[..1],
            &|t| t[0].apply_op1(Activate(kind)),
            &|t| slow(&t[0]),
        );
        same(
            &label,
            &inputs,
            &|t| t[0].apply_op2(&t[1], Gated(kind)),
            &|t| slow(&t[0])? * &t[1],
        );
    }
}
