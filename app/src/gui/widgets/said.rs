//! Names of controls that show only a sign, or a value: what screen readers say, and tests ask for.

use egui::{Response, Role, WidgetInfo};

/// Names a button that shows only a sign; the name is on hover too.
pub fn sign_button(response: Response, name: &str) -> Response {
    let enabled = response.enabled();
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    response.on_hover_text(name)
}

/// Names a control by more than the value, the unit or the hover text that it has anyway.
pub fn named(response: Response, name: &str) -> Response {
    let node = |node: &mut egui::accesskit::Node| node.set_label(name);
    response.ctx.accesskit_node_builder(response.id, node);
    response
}

/// Names a field for text.
pub fn text_field(response: &Response, name: &str, text: &str, hint: &str) {
    response.widget_info(|| {
        let mut info = WidgetInfo::text_edit(true, text, text, hint);
        info.label = Some(name.to_owned());
        info
    });
}
