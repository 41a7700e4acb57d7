//! Static costs of models: what shapes and dtypes alone decide.

use super::context::Cx;
use crate::codes::types as codes;
use crate::value::{Args, Reported, Value};
use merge_abi::DType;
use merge_base::Span;

impl Cx<'_> {
    /// `params(m)`: the entries of its tensors; `bytes(m)`: what they take in the dtype of the file they come from, or in F32.
    pub(super) fn cost(&mut self, args: &Args, span: Span) -> Result<Value, Reported> {
        let model = match args.get(0).map(|a| (&a.value, a.span)) {
            Some((Value::Model(m), _)) => m.clone(),
            Some((Value::Tensor(t), _)) => return self.count(self.graph.shape(t.node).iter().product(), span),
            Some((other, at)) => {
                let message = format!("`{}` wants a model, and this is {}", args.name, other.kind());
                return Err(self.error(codes::WRONG_KIND, message, at, ""));
            }
            None => return Err(Reported),
        };
        let names = model.names(self)?;
        let mut total = 0u64;
        for name in names.iter() {
            let Some(Ok(t)) = model.get(self, *name) else { continue };
            let entries: u64 = self.shape(&t).iter().product();
            let stored = model.origin.and_then(|o| self.opened[o as usize].tensors.get(name)).map(|t| t.0);
            let size = if args.name == "bytes" { t.buffer.or(stored).unwrap_or(DType::F32).size() } else { 1 };
            total = total.saturating_add(entries.saturating_mul(size));
        }
        self.count(total, span)
    }

    fn count(&mut self, n: u64, span: Span) -> Result<Value, Reported> {
        match i64::try_from(n) {
            Ok(n) => Ok(Value::Int(n)),
            Err(_) => Err(self.error(codes::INT_ARITHMETIC, "this is more than an int can count", span, "")),
        }
    }
}
