//! Loads an object into this process, through LLVM's ORC.

use crate::target::{Cpu, machine};
use crate::{Error, compile};
use inkwell::llvm_sys::core::LLVMCreateMemoryBufferWithMemoryRangeCopy;
use inkwell::llvm_sys::error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage};
use inkwell::llvm_sys::orc2::LLVMOrcExecutorAddress;
use inkwell::llvm_sys::orc2::lljit::{
    LLVMOrcCreateLLJIT, LLVMOrcDisposeLLJIT, LLVMOrcLLJITAddObjectFile, LLVMOrcLLJITGetMainJITDylib, LLVMOrcLLJITLookup,
    LLVMOrcLLJITRef,
};
use merge_abi::KernelFn;
use merge_ir::kir::Kernel;
use std::ffi::{CStr, CString};
use std::ptr::null_mut;

/// Loaded code. Functions obtained from it must not be called after it is dropped.
pub struct Jit {
    jit: LLVMOrcLLJITRef,
}

// SAFETY: LLJIT locks its session itself, and loaded code does not change.
unsafe impl Send for Jit {}
// SAFETY: as above; all methods take `&self` and look up symbols only.
unsafe impl Sync for Jit {}

impl Jit {
    /// Compiles kernels, on as many threads as the machine has cores (four at most), and loads them.
    /// For the machine this runs on, `cpu` is [`Cpu::Host`] or something older.
    pub fn compile(kernels: &[Kernel], cpu: &Cpu) -> Result<Jit, Error> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get()).clamp(1, 4);
        // The largest first, each to the thread with the least to do; who compiles what does not show.
        let mut order: Vec<&Kernel> = kernels.iter().collect();
        order.sort_by_key(|k| std::cmp::Reverse(work(k)));
        let mut shares: Vec<(usize, Vec<Kernel>)> = vec![Default::default(); threads];
        for kernel in order {
            if let Some(share) = shares.iter_mut().min_by_key(|s| s.0) {
                share.0 += work(kernel);
                share.1.push(kernel.clone());
            }
        }
        shares.retain(|s| !s.1.is_empty());
        let objects: Vec<Result<Vec<u8>, Error>> = std::thread::scope(|scope| {
            let running: Vec<_> = shares.iter().map(|(_, kernels)| scope.spawn(|| compile(kernels, cpu))).collect();
            let gone = || Err(Error::Internal("a thread that compiled kernels panicked".into()));
            running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| gone())).collect()
        });
        let jit = Jit::empty()?;
        for object in objects {
            jit.add(&object?)?;
        }
        Ok(jit)
    }

    /// Loads what [`crate::compile`] made for this machine.
    pub fn load(object: &[u8]) -> Result<Jit, Error> {
        let jit = Jit::empty()?;
        jit.add(object)?;
        Ok(jit)
    }

    fn empty() -> Result<Jit, Error> {
        // LLJIT asks for the native target, which must be initialised.
        machine(&Cpu::Host)?;
        let mut jit = null_mut();
        // SAFETY: `jit` is written on success; a null builder means the defaults.
        check(unsafe { LLVMOrcCreateLLJIT(&mut jit, null_mut()) })?;
        Ok(Jit { jit })
    }

    fn add(&self, object: &[u8]) -> Result<(), Error> {
        // SAFETY: the buffer copies the object's bytes and is given to LLJIT, which frees it in any case;
        // the dylib belongs to the JIT.
        check(unsafe {
            let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object.as_ptr().cast(), object.len(), c"kernels".as_ptr());
            LLVMOrcLLJITAddObjectFile(self.jit, LLVMOrcLLJITGetMainJITDylib(self.jit), buffer)
        })
    }

    /// The kernel of that name. It may be called from any thread while `self` lives.
    pub fn kernel(&self, symbol: &str) -> Option<KernelFn> {
        let symbol = CString::new(symbol).ok()?;
        let mut address: LLVMOrcExecutorAddress = 0;
        // SAFETY: the JIT is alive and the name is a C string.
        check(unsafe { LLVMOrcLLJITLookup(self.jit, &mut address, symbol.as_ptr()) }).ok()?;
        if address == 0 {
            return None;
        }
        // SAFETY: the objects that are loaded define kernels only, and all have this signature.
        Some(unsafe { std::mem::transmute::<usize, KernelFn>(address as usize) })
    }
}

/// How long a kernel takes to compile, in instructions, roughly.
fn work(kernel: &Kernel) -> usize {
    20 + kernel.body.len() + 60 * kernel.keys as usize
}

impl Drop for Jit {
    fn drop(&mut self) {
        // SAFETY: made by `load`, disposed of once. A failure to unmap leaves memory behind, nothing worse.
        let _ = check(unsafe { LLVMOrcDisposeLLJIT(self.jit) });
    }
}

/// LLVM's error as ours; consumes it.
fn check(error: LLVMErrorRef) -> Result<(), Error> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: an error that is not null gives its message once and is consumed by that; the message is a
    // C string until it is disposed of.
    let text = unsafe {
        let message = LLVMGetErrorMessage(error);
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        LLVMDisposeErrorMessage(message);
        text
    };
    Err(Error::Internal(text))
}
