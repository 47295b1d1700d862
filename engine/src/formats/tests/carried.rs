//! A model that is packed already is packed again: what a recipe leaves stays byte for byte, or its loss is told.

use super::*;

/// Bytes of the parts of layer `name`, as the file holds them.
fn parts_of(folder: &Path, name: &str) -> Vec<(String, Vec<u8>)> {
    let model = Checkpoint::open(folder).unwrap();
    let manifest = model.manifest(&format!("{name}.weight")).unwrap();
    let parts = manifest.parts().unwrap().into_iter();
    let read = |part: crate::packed::PartSpec| {
        let name = manifest.part_name(part.suffix);
        let mut bytes = vec![0; part.size_bytes as usize];
        model.read_bytes(&name, 0, &mut bytes).unwrap();
        (name, bytes)
    };
    parts.map(read).collect()
}

#[test]
fn what_is_left_of_a_packed_model_stays_packed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_model(&at("model"));
    let (run, _) = compress(&at("model"), &at("first"), Format::Pare, &everything());
    run.finish("{}", true).unwrap();
    let again = [("a", settings(Method::Rtn, 2, 32))];
    let (run, plan) = compress(&at("first"), &at("second"), Format::Pare, &again);
    verify_run(run.partial(), &plan, &Patience::endless()).unwrap();
    assert_eq!(bytes_on_disk(run.partial()), plan.bytes);
    run.finish("{}", true).unwrap();
    for name in ["b", "c"] {
        assert_eq!(
            parts_of(&at("second"), name),
            parts_of(&at("first"), name),
            "{name}"
        );
    }
    let [_, float, fixed] = ROUNDED_INPUTS;
    assert_eq!(rounded_inputs(&at("second")), ["None 0 None", float, fixed]);
    // An exported copy takes over what the run took over.
    export(
        &at("second"),
        Format::Pare,
        &at("copy"),
        &Patience::endless(),
    )
    .unwrap();
    for name in ["a", "b", "c"] {
        assert_eq!(
            parts_of(&at("copy"), name),
            parts_of(&at("second"), name),
            "{name}"
        );
    }
}

#[test]
fn inputs_that_another_container_leaves_as_floats_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    write_model(&at("model"));
    let (run, _) = compress(&at("model"), &at("first"), Format::Pare, &everything());
    run.finish("{}", true).unwrap();
    let source = Checkpoint::open(&at("first")).unwrap();
    let layers: Vec<(LayerInfo, LayerSettings)> = layers_of(&source)
        .into_iter()
        .map(|layer| (layer, settings(Method::None, 4, 32)))
        .collect();
    let plan_source = PlanSource {
        weights: &source,
        packed: Some(&source),
        config: None,
        root: source.root(),
        side_files: &[],
        made_files: &[],
    };
    for (format, expected) in [
        (Format::Pare, [None, None, None]),
        (Format::Dense, [Some("dynamic8"), None, Some("static8")]),
        (Format::Gptq, [Some("dynamic8"), None, Some("static8")]),
        (
            Format::CompressedTensors,
            [Some("dynamic8"), None, Some("static8")],
        ),
    ] {
        let held = preflight_of(&plan_source, format, &layers, Values::Open, false).unwrap();
        for (held, expected) in held.iter().zip(expected) {
            let told = held.fallback.as_ref();
            let told = told.map(|told| (told.from.clone(), told.to.as_str()));
            let expected = expected.map(|mode| (format!("activations {mode}"), "activations none"));
            assert_eq!(told, expected, "{format:?}");
        }
        let strict = preflight_of(&plan_source, format, &layers, Values::Open, true);
        assert_eq!(strict.is_err(), format != Format::Pare, "{format:?}");
    }
}
