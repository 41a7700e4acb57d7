//! `adapter_config.json`: what an adapter is, and by how much its factors are scaled.
//!
//! Keys that matter only while an adapter is trained are known and passed over. Keys that change what it does, and
//! that this version cannot honour, are faults; keys that nobody knows are listed, for a warning.

use regex_lite::Regex;
use serde_json::{Map, Value};

/// How the factors of a module make its change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lora,
    AdaLora,
    LoHa,
    LoKr,
    Ia3,
    Vera,
}

impl Kind {
    /// The kind of this `peft_type`.
    fn of(peft_type: &str) -> Option<Kind> {
        Some(match peft_type {
            "LORA" => Kind::Lora,
            "ADALORA" => Kind::AdaLora,
            "LOHA" => Kind::LoHa,
            "LOKR" => Kind::LoKr,
            "IA3" => Kind::Ia3,
            "VERA" => Kind::Vera,
            _ => return None,
        })
    }
}

/// `peft_type`s that change what goes into a network, not its weights.
const OF_PROMPTS: [&str; 7] =
    ["PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT", "CARTRIDGE"];

/// Settings of LoRA by which no weight can hold what it does.
const OF_TOKENS: [(&str, &str); 2] = [
    ("alora_invocation_tokens", "activated LoRA acts on some tokens only"),
    ("arrow_config", "an Arrow router chooses among adapters for each token"),
];

/// Settings of LoRA that change what its factors mean, and that are not there yet.
const VARIANTS: [(&str, &str); 7] = [
    ("use_qalora", "QALoRA pools the inputs of its layers"),
    ("use_bdlora", "BD-LoRA has block-diagonal factors"),
    ("kasa_config", "KaSA also changes the base"),
    ("monteclora_config", "MonteCLoRA draws its factors at random"),
    ("layer_replication", "it repeats layers of the base"),
    ("trainable_token_indices", "it holds new embeddings of single tokens"),
    ("target_parameters", "it changes parameters that belong to no module of their own"),
];

/// Start values that are taken from the base and subtracted from it.
const FROM_BASE: [&str; 6] = ["pissa", "olora", "corda", "lora_ga", "loftq", "mica"];

/// Keys that say nothing about the change of the weights once the adapter is trained.
const TRAINING: [&str; 55] = [
    "auto_mapping",
    "beta1",
    "beta2",
    "bias",
    "corda_config",
    "d_initial",
    "decompose_both",
    "decompose_factor",
    "deltaT",
    "ensure_weight_tying",
    "eva_config",
    "exclude_modules",
    "inference_mode",
    "init_ia3_weights",
    "init_weights",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_bias",
    "lora_dropout",
    "lora_ga_config",
    "megatron_config",
    "megatron_core",
    "module_dropout",
    "modules_to_save",
    "orth_reg_weight",
    "peft_version",
    "projection_prng_key",
    "qalora_group_size",
    "rank_dropout",
    "rank_dropout_scale",
    "revision",
    "runtime_config",
    "save_projection",
    "target_modules",
    "target_r",
    "tfinal",
    "tinit",
    "total_step",
    "use_effective_conv2d",
    "vera_dropout",
    // Read below.
    "peft_type",
    "base_model_name_or_path",
    "task_type",
    "r",
    "init_r",
    "lora_alpha",
    "alpha",
    "rank_pattern",
    "alpha_pattern",
    "use_rslora",
    "use_dora",
    "fan_in_fan_out",
    "feedforward_modules",
    "init_lora_weights",
];

/// What is wrong with a config.
#[derive(Debug)]
pub(super) enum ConfigFault {
    /// It cannot be read as one.
    Broken(String),
    /// A kind or a variant that is not there, with what helps.
    Unsupported { message: String, help: &'static str },
}

/// A pattern of module paths with the value for those that fit it.
#[derive(Debug)]
pub(super) struct Pattern {
    expression: Regex,
    value: f64,
}

impl Pattern {
    /// PEFT's rule: the expression fits the end of a module's path, from a dot on or the whole of it.
    pub fn new(key: &str, value: f64) -> Option<Pattern> {
        Some(Pattern { expression: Regex::new(&format!("^(?:.*\\.)?(?:{key})$")).ok()?, value })
    }

    /// The value of the first pattern that fits a module.
    pub fn first(patterns: &[Pattern], module: &str) -> Option<f64> {
        patterns.iter().find(|p| p.expression.is_match(module)).map(|p| p.value)
    }
}

/// An adapter's own description of itself.
#[derive(Debug)]
pub(super) struct Config {
    pub kind: Kind,
    /// The rank; AdaLoRA's is the one it started with.
    r: Option<f64>,
    alpha: f64,
    rank_pattern: Vec<Pattern>,
    alpha_pattern: Vec<Pattern>,
    pub rank_stabilised: bool,
    pub dora: bool,
    pub fan_in_fan_out: bool,
    feedforward: Vec<Regex>,
    /// `base_model_name_or_path`.
    pub base: Option<String>,
    pub task_type: Option<String>,
    /// Keys that nobody knows and that are set to something.
    pub unknown: Vec<String>,
}

impl Config {
    pub fn read(text: &str) -> Result<Config, ConfigFault> {
        let value: Value = serde_json::from_str(text).map_err(|e| broken(format!("it is not valid JSON: {e}")))?;
        let Value::Object(map) = value else { return Err(broken("it is not a JSON object".into())) };
        let kind = kind_of(&map)?;
        refuse_variants(&map)?;
        let (r_key, alpha_key) = match kind {
            Kind::Lora => ("r", "lora_alpha"),
            Kind::AdaLora => ("init_r", "lora_alpha"),
            Kind::LoHa | Kind::LoKr | Kind::Ia3 | Kind::Vera => ("r", "alpha"),
        };
        let alpha = number(&map, alpha_key)?;
        let r = number(&map, r_key)?;
        let scaled = matches!(kind, Kind::Lora | Kind::AdaLora | Kind::LoHa | Kind::LoKr);
        if scaled && (r.is_none() || alpha.is_none()) {
            return Err(broken(format!("it lacks `{}`", if r.is_none() { r_key } else { alpha_key })));
        }
        if scaled && r.is_some_and(|r| r <= 0.0) {
            return Err(broken(format!("`{r_key}` is not above 0")));
        }
        // AdaLoRA's pattern is a list of the ranks it kept; its factors have them already.
        let rank_pattern = if kind == Kind::AdaLora { Vec::new() } else { patterns(&map, "rank_pattern")? };
        Ok(Config {
            kind,
            r,
            alpha: alpha.unwrap_or(0.0),
            rank_pattern,
            alpha_pattern: patterns(&map, "alpha_pattern")?,
            rank_stabilised: flag(&map, "use_rslora")?,
            dora: flag(&map, "use_dora")?,
            fan_in_fan_out: flag(&map, "fan_in_fan_out")?,
            feedforward: feedforward(&map)?,
            base: text_of(&map, "base_model_name_or_path"),
            task_type: text_of(&map, "task_type"),
            unknown: unknown(&map),
        })
    }

    /// The rank that a module should have.
    pub fn rank(&self, module: &str) -> Option<f64> {
        Pattern::first(&self.rank_pattern, module).or(self.r)
    }

    /// What the product of a module's factors is multiplied by, if its factors have rank `r`.
    pub fn scale(&self, module: &str, r: f64) -> f64 {
        let alpha = Pattern::first(&self.alpha_pattern, module).unwrap_or(self.alpha);
        match self.kind {
            // PEFT's formula, with its guard against a rank of 0.
            Kind::AdaLora => (if alpha > 0.0 { alpha } else { r }) / (self.r.unwrap_or(r) + 1e-5),
            _ if self.rank_stabilised => alpha / self.rank(module).unwrap_or(r).sqrt(),
            _ => alpha / self.rank(module).unwrap_or(r),
        }
    }

    /// The numerator of AdaLoRA's scale, where the file holds the divisor itself.
    pub fn adalora_alpha(&self, r: f64) -> f64 {
        if self.alpha > 0.0 { self.alpha } else { r }
    }

    /// Whether IA3 scales what goes into this module.
    pub fn is_feedforward(&self, module: &str) -> bool {
        self.feedforward.iter().any(|f| f.is_match(module))
    }
}

fn broken(what: String) -> ConfigFault {
    ConfigFault::Broken(what)
}

fn kind_of(map: &Map<String, Value>) -> Result<Kind, ConfigFault> {
    let Some(peft_type) = text_of(map, "peft_type") else { return Err(broken("it lacks `peft_type`".into())) };
    if let Some(kind) = Kind::of(&peft_type) {
        return Ok(kind);
    }
    if OF_PROMPTS.contains(&&*peft_type) {
        let message = format!("this adapter is `{peft_type}`: it changes what goes into the network, and no weight");
        return Err(ConfigFault::Unsupported { message, help: "only adapters of weights can be merged, such as LoRA" });
    }
    let message = format!("adapters of type `{peft_type}` are not there yet");
    let help = "there are LORA (with rsLoRA and DoRA), ADALORA, LOHA, LOKR, IA3 and VERA; others can be merged by PEFT's \
                `merge_and_unload`, and the difference to the base be used as `checkpoint(\"merged\") - base`";
    Err(ConfigFault::Unsupported { message, help })
}

fn refuse_variants(map: &Map<String, Value>) -> Result<(), ConfigFault> {
    let set = |(key, _): &&(&str, &str)| map.get(*key).is_some_and(is_set);
    if let Some((key, why)) = OF_TOKENS.iter().find(set) {
        let message = format!("this adapter uses `{key}`: {why}, so no weight can hold it");
        let help = "it cannot be merged into the weights, by any tool; use it beside the base";
        return Err(ConfigFault::Unsupported { message, help });
    }
    if let Some((key, why)) = VARIANTS.iter().find(set) {
        let message = format!("this adapter uses `{key}`, which is not there yet: {why}");
        let help = "where PEFT's `merge_and_unload` can merge it, use the difference: `checkpoint(\"merged\") - base`";
        return Err(ConfigFault::Unsupported { message, help });
    }
    if let Some(Value::String(start)) = map.get("init_lora_weights")
        && FROM_BASE.iter().any(|s| start.to_lowercase().starts_with(s))
    {
        let message = format!(
            "this adapter began as `{start}`: its start values were taken out of the base, which it therefore does not fit"
        );
        let help = "convert it to a plain LoRA when it is saved: PEFT's `save_pretrained(.., path_initial_model_for_weight_conversion=..)`";
        return Err(ConfigFault::Unsupported { message, help });
    }
    Ok(())
}

/// Neither absent, false nor empty.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
        _ => true,
    }
}

fn unknown(map: &Map<String, Value>) -> Vec<String> {
    let known = |key: &str| TRAINING.contains(&key) || VARIANTS.iter().chain(&OF_TOKENS).any(|v| v.0 == key);
    map.iter().filter(|(key, value)| !known(key) && is_set(value)).map(|(key, _)| key.clone()).collect()
}

fn text_of(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn flag(map: &Map<String, Value>, key: &str) -> Result<bool, ConfigFault> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(b)) => Ok(*b),
        Some(other) => Err(broken(format!("`{key}` is {other}, neither true nor false"))),
    }
}

fn number(map: &Map<String, Value>, key: &str) -> Result<Option<f64>, ConfigFault> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(n) if n.is_finite() => Ok(Some(n)),
            _ => Err(broken(format!("`{key}` is {value}, which is no number"))),
        },
    }
}

/// Patterns in the order of the file, which decides between several that fit.
fn patterns(map: &Map<String, Value>, key: &str) -> Result<Vec<Pattern>, ConfigFault> {
    let entries = match map.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(broken(format!("`{key}` is {other}, no object of patterns"))),
    };
    let mut all = Vec::with_capacity(entries.len());
    for (pattern, value) in entries {
        let number = value.as_f64().filter(|n| *n > 0.0 || key == "alpha_pattern");
        let Some(number) = number else { return Err(broken(format!("`{key}` has {value} for `{pattern}`"))) };
        let Some(compiled) = Pattern::new(pattern, number) else {
            return Err(broken(format!("`{key}` has the pattern `{pattern}`, which cannot be read")));
        };
        all.push(compiled);
    }
    Ok(all)
}

/// PEFT's rule for IA3: an expression for the whole path, or ends of paths.
fn feedforward(map: &Map<String, Value>) -> Result<Vec<Regex>, ConfigFault> {
    let compile = |text: String| {
        let fault = || broken(format!("`feedforward_modules` has `{text}`, which cannot be read"));
        Regex::new(&text).map_err(|_| fault())
    };
    match map.get("feedforward_modules") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(expression)) => Ok(vec![compile(format!("^(?:{expression})$"))?]),
        Some(Value::Array(ends)) => {
            ends.iter().filter_map(Value::as_str).map(|end| compile(format!("{}$", regex_lite::escape(end)))).collect()
        }
        Some(other) => Err(broken(format!("`feedforward_modules` is {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_ends_of_paths_and_the_first_one_counts() {
        let text = r#"{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "use_rslora": false,
            "rank_pattern": {"0.q_proj": 4, "q_proj": 2, "^model.head": 32}, "alpha_pattern": {"k_proj|v_proj": 3.5}}"#;
        let config = Config::read(text).expect("a config");
        let rank = |module| config.rank(module).expect("a rank");
        assert_eq!(rank("model.layers.0.q_proj"), 4.0);
        assert_eq!(rank("model.layers.10.q_proj"), 2.0, "a part of a segment does not fit");
        assert_eq!(rank("q_proj"), 2.0);
        assert_eq!(rank("model.head"), 32.0);
        assert_eq!(rank("other.model.head"), 8.0);
        assert_eq!(config.scale("model.layers.0.q_proj", 4.0), 4.0);
        assert_eq!(config.scale("model.layers.0.k_proj", 8.0), 3.5 / 8.0);
    }

    #[test]
    fn scales_are_those_of_the_kinds() {
        let config = |text: &str| Config::read(text).expect("a config");
        assert_eq!(config(r#"{"peft_type":"LORA","r":16,"lora_alpha":8,"use_rslora":true}"#).scale("m", 16.0), 2.0);
        let ada = config(r#"{"peft_type":"ADALORA","r":8,"init_r":12,"lora_alpha":32}"#);
        assert_eq!(ada.scale("m", 3.0), 32.0 / (12.0 + 1e-5));
        let loha = config(r#"{"peft_type":"LOHA","r":4,"alpha":2}"#);
        assert_eq!(loha.scale("m", 4.0), 0.5);
    }

    #[test]
    fn what_cannot_be_honoured_is_said() {
        let fault = |text: &str| format!("{:?}", Config::read(text).expect_err("a fault"));
        assert!(fault("[]").contains("not a JSON object"));
        assert!(fault(r#"{"r": 8}"#).contains("peft_type"));
        assert!(fault(r#"{"peft_type":"PREFIX_TUNING"}"#).contains("no weight"));
        assert!(fault(r#"{"peft_type":"BOFT"}"#).contains("BOFT"));
        assert!(fault(r#"{"peft_type":"LORA","r":8,"lora_alpha":8,"init_lora_weights":"pissa_niter_16"}"#).contains("base"));
        assert!(fault(r#"{"peft_type":"LORA","r":8,"lora_alpha":8,"arrow_config":{"top_k":3}}"#).contains("arrow_config"));
        assert!(fault(r#"{"peft_type":"LORA","r":8}"#).contains("lora_alpha"));
        let known = Config::read(r#"{"peft_type":"LORA","r":8,"lora_alpha":8,"lora_dropout":0.1,"new_thing":2,"off":false}"#);
        assert_eq!(known.expect("a config").unknown, ["new_thing"]);
    }
}
