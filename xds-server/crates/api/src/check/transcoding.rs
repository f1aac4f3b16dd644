//! TranscodingPolicy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use windrose_vocab::Code;

use super::{Check, exactly_one, target};
use crate::decode::{Path, Report};
use crate::policy::{DescriptorSource, TranscodingPolicy};

impl Check for TranscodingPolicy {
    fn check(&self, at: &Path<'_>, report: &mut Report) {
        target::check(&self.target_refs, at, report);
        let DescriptorSource { file, config_map, inline } = &self.descriptors;
        let at = at.field("descriptors");
        exactly_one(&[("file", file.is_some()), ("configMap", config_map.is_some()), ("inline", inline.is_some())], &at, report);
        if inline.as_deref().is_some_and(|text| STANDARD.decode(text.split_ascii_whitespace().collect::<String>()).is_err()) {
            report.error(&at.field("inline"), Code::OutOfRange, "is not base64");
        }
    }
}
