//! Keys of adapter files: which module a tensor belongs to, and what it is to it.
//!
//! PEFT writes `base_model.model.<module>.<part>[.weight]`; kohya's scripts and LyCORIS write
//! `<prefix>_<module with underscores>.<part>[.weight]`. Both are brought to one set of parts here.

/// What a tensor of an adapter is to its module. The names are PEFT's, where PEFT has one.
pub(super) type Part = &'static str;

/// How the keys of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Peft,
    Kohya,
}

/// A key taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key<'a> {
    /// A part of the change of a module.
    Part { module: &'a str, part: Part },
    /// A tensor that all modules share.
    Shared(Part),
    /// A whole tensor that takes the place of the base's; the text is its name.
    Full(String),
    /// A key of kohya's form that means nothing.
    Unknown,
}

/// PEFT's parts, with what may stand behind them.
const PEFT: [(&str, &[&str]); 21] = [
    ("lora_A", &["", "weight"]),
    ("lora_B", &["", "weight"]),
    ("lora_E", &[""]),
    ("ranknum", &[""]),
    ("lora_embedding_A", &[""]),
    ("lora_embedding_B", &[""]),
    ("lora_magnitude_vector", &["", "weight"]),
    ("hada_w1_a", &[""]),
    ("hada_w1_b", &[""]),
    ("hada_w2_a", &[""]),
    ("hada_w2_b", &[""]),
    ("hada_t1", &[""]),
    ("hada_t2", &[""]),
    ("lokr_w1", &[""]),
    ("lokr_w1_a", &[""]),
    ("lokr_w1_b", &[""]),
    ("lokr_w2", &[""]),
    ("lokr_w2_a", &[""]),
    ("lokr_w2_b", &[""]),
    ("lokr_t2", &[""]),
    ("ia3_l", &[""]),
];

/// PEFT's parts of VeRA, of which two belong to all modules.
const VERA: [&str; 2] = ["vera_lambda_b", "vera_lambda_d"];
const VERA_SHARED: [&str; 2] = ["vera_A", "vera_B"];

/// What follows the first dot of kohya's keys.
const KOHYA: [(&str, Part); 20] = [
    ("lora_down.weight", "lora_A"),
    ("lora_up.weight", "lora_B"),
    ("lora_mid.weight", "lora_mid"),
    ("alpha", "alpha"),
    ("dora_scale", "dora_scale"),
    ("hada_w1_a", "hada_w1_a"),
    ("hada_w1_b", "hada_w1_b"),
    ("hada_w2_a", "hada_w2_a"),
    ("hada_w2_b", "hada_w2_b"),
    ("hada_t1", "hada_t1"),
    ("hada_t2", "hada_t2"),
    ("lokr_w1", "lokr_w1"),
    ("lokr_w1_a", "lokr_w1_a"),
    ("lokr_w1_b", "lokr_w1_b"),
    ("lokr_w2", "lokr_w2"),
    ("lokr_w2_a", "lokr_w2_a"),
    ("lokr_w2_b", "lokr_w2_b"),
    ("lokr_t2", "lokr_t2"),
    ("diff", "diff"),
    ("diff_b", "diff_b"),
];

/// How a file's keys are written: kohya's where any is of its form.
pub(super) fn style_of<'a>(mut keys: impl Iterator<Item = &'a str>) -> Style {
    let kohya = keys.any(|k| k.split_once('.').is_some_and(|(_, part)| KOHYA.iter().any(|(p, _)| *p == part)));
    if kohya { Style::Kohya } else { Style::Peft }
}

/// Whether a name is that of an adapter's factor, in either form.
pub(crate) fn is_factor(name: &str) -> bool {
    let kohya = name.split_once('.').is_some_and(|(_, part)| KOHYA[..3].iter().any(|(p, _)| *p == part));
    kohya || (name.starts_with("base_model.") && !matches!(read(name, Style::Peft), Key::Full(_)))
}

/// Takes a key apart.
pub(super) fn read(key: &str, style: Style) -> Key<'_> {
    match style {
        Style::Kohya => read_kohya(key),
        Style::Peft => read_peft(key),
    }
}

fn read_kohya(key: &str) -> Key<'_> {
    let Some((module, rest)) = key.split_once('.') else { return Key::Unknown };
    match KOHYA.iter().find(|(suffix, _)| *suffix == rest) {
        Some((_, part)) => Key::Part { module, part },
        None => Key::Unknown,
    }
}

fn read_peft(key: &str) -> Key<'_> {
    let inner = key.strip_prefix("base_model.").unwrap_or(key);
    // An adapter's own name is part of the keys where they were not saved by PEFT's `save_pretrained`.
    let shared = inner.strip_suffix(".default").unwrap_or(inner);
    if let Some(part) = VERA_SHARED.iter().find(|p| **p == shared) {
        return Key::Shared(part);
    }
    let inner = inner.strip_prefix("model.").filter(|_| key.starts_with("base_model.model.")).unwrap_or(inner);
    let mut at = 0;
    for segment in inner.split('.') {
        let behind = inner.get(at + segment.len() + 1..).unwrap_or("");
        let behind = behind.strip_prefix("default").map_or(behind, |b| b.strip_prefix('.').unwrap_or(b));
        let part = PEFT.iter().find(|(p, tails)| *p == segment && tails.contains(&behind)).map(|(p, _)| *p);
        let part = part.or(VERA.into_iter().find(|p| *p == segment && behind.is_empty()));
        let part = part.or((segment == "lora_B" && behind == "bias").then_some("lora_B.bias"));
        if let (Some(part), Some(module)) = (part, inner[..at].strip_suffix('.')) {
            return Key::Part { module, part };
        }
        at += segment.len() + 1;
    }
    let kept: Vec<&str> = inner.split('.').filter(|s| !matches!(*s, "modules_to_save" | "base_layer")).collect();
    let mut name = kept.join(".");
    if inner.contains(".modules_to_save.") {
        name = name.replace(".default.", ".");
    }
    Key::Full(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_peft() {
        let part = |key: &'static str| read(key, Style::Peft);
        let of = |module, part| Key::Part { module, part };
        assert_eq!(part("base_model.model.model.layers.0.q_proj.lora_A.weight"), of("model.layers.0.q_proj", "lora_A"));
        assert_eq!(part("base_model.model.l.q.lora_B.default.weight"), of("l.q", "lora_B"));
        assert_eq!(part("base_model.model.l.q.lora_B.bias"), of("l.q", "lora_B.bias"));
        assert_eq!(part("base_model.model.l.q.lora_magnitude_vector"), of("l.q", "lora_magnitude_vector"));
        assert_eq!(part("base_model.model.emb.lora_embedding_A"), of("emb", "lora_embedding_A"));
        assert_eq!(part("base_model.model.l.q.vera_lambda_d"), of("l.q", "vera_lambda_d"));
        assert_eq!(part("base_model.vera_A"), Key::Shared("vera_A"));
        assert_eq!(part("base_model.model.lm_head.modules_to_save.weight"), Key::Full("lm_head.weight".into()));
        assert_eq!(part("base_model.model.lm_head.modules_to_save.default.weight"), Key::Full("lm_head.weight".into()));
        assert_eq!(part("base_model.model.e.base_layer.weight"), Key::Full("e.weight".into()));
        assert_eq!(part("base_model.model.head.bias"), Key::Full("head.bias".into()));
        assert_eq!(part("unet.down.to_q.lora_A.weight"), of("unet.down.to_q", "lora_A"));
        assert_eq!(part("base_model.model.l.q.oft_R.weight"), Key::Full("l.q.oft_R.weight".into()));
    }

    #[test]
    fn keys_of_kohya() {
        let keys = ["lora_unet_mid_attn.lora_down.weight", "lora_unet_mid_attn.alpha"];
        assert_eq!(style_of(keys.into_iter()), Style::Kohya);
        assert_eq!(style_of(["base_model.model.l.q.lora_A.weight"].into_iter()), Style::Peft);
        assert_eq!(read(keys[0], Style::Kohya), Key::Part { module: "lora_unet_mid_attn", part: "lora_A" });
        assert_eq!(read("bundle_emb.x", Style::Kohya), Key::Unknown);
    }

    #[test]
    fn factors_are_told_from_weights() {
        assert!(is_factor("base_model.model.l.q.lora_A.weight") && is_factor("lora_te_l_q.lora_up.weight"));
        assert!(!is_factor("model.layers.0.q.weight") && !is_factor("base_model.model.head.weight"));
        assert!(!is_factor("conv.alpha"));
    }
}
