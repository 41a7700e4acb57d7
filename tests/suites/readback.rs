//! Outputs are read back by the Python `safetensors` package.

use merge_runtime::Options;
use merge_tests::{Folder, run_text, write_stand_ins};
use std::process::Command;

const SCRIPT: &str = r#"
import json, os, sys
import numpy as np
from safetensors import safe_open
folder, base, math = sys.argv[1:]
def read(path):
    out = {}
    files = [f for f in sorted(os.listdir(path)) if f.endswith(".safetensors")]
    for f in files:
        with safe_open(os.path.join(path, f), "np") as s:
            assert path != folder or s.metadata()["format"] == "pt", s.metadata()
            out.update({k: s.get_tensor(k) for k in s.keys()})
    return out, files
got, files = read(folder)
b, _ = read(base)
m, _ = read(math)
assert sorted(got) == sorted(b), sorted(set(got) ^ set(b))
for k in b:
    want = b[k] if b[k].dtype == np.int64 else np.float32(0.5) * (b[k] + m[k])
    assert got[k].dtype == b[k].dtype and got[k].shape == b[k].shape, k
    assert np.allclose(got[k], want, rtol=1e-6, atol=1e-7), k
if len(files) > 1:
    index = json.load(open(os.path.join(folder, "model.safetensors.index.json")))
    assert sorted(index["weight_map"]) == sorted(b) and set(index["weight_map"].values()) == set(files)
print("read", len(got), "tensors from", len(files), "files")
"#;

#[test]
fn python_reads_what_we_write() {
    let Some(python) = std::env::var_os("MERGE_TEST_PYTHON") else {
        println!("no Python with safetensors was prepared; `cargo xtask test` does that");
        return;
    };
    for (settings, files) in [("", "from 1 files"), (" { shard: 1KB }", "from ")] {
        let folder = Folder::new("readback");
        write_stand_ins(folder.path());
        let recipe = format!(
            "let base = checkpoint(\"base\")\nlet math = checkpoint(\"math\")\n\
             save like base {{\n \"model.position_ids\" => base\n _ => mean([base, math])\n}} to \"out\"{settings}\n"
        );
        run_text(&folder, &recipe, &Options::default()).unwrap_or_else(|e| panic!("{}", e.message));
        let out = Command::new(&python)
            .args(["-c", SCRIPT])
            .args([folder.join("out"), folder.join("base"), folder.join("math")])
            .output()
            .unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        assert!(out.status.success() && text.contains(files), "{text}");
    }
}
