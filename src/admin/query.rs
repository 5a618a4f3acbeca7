//! The query of a request: `?columns=name&page=1`.

use super::path::decoded_form;

/// Names and values, in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a query or the body of a form; what is no text is passed over.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let text = |part| String::from_utf8(decoded_form(part)?).ok();
            Some((text(name)?, text(value)?))
        });
        Self(pairs.collect())
    }

    /// The first value of that name.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(known, _)| known == name);
        pair.map(|(_, value)| value.as_str())
    }

    /// Whether it says `name=true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.value(name) == Some("true")
    }
}
