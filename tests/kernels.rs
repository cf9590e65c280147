//! Kernels by themselves, on the stand-in driver: against plain references, in several orders of threads, at odd sizes; and
//! mistakes of every kind, which the judge must find.

mod emulator;

#[path = "kernels/accumulate.rs"]
mod accumulate;
#[path = "kernels/attention.rs"]
mod attention;
#[path = "kernels/attention_gradient.rs"]
mod attention_gradient;
#[path = "kernels/bits.rs"]
mod bits;
#[path = "kernels/convolve.rs"]
mod convolve;
#[path = "kernels/copy.rs"]
mod copy;
#[path = "kernels/count.rs"]
mod count;
#[path = "kernels/cross_entropy.rs"]
mod cross_entropy;
#[path = "kernels/ctc.rs"]
mod ctc;
#[path = "kernels/factor.rs"]
mod factor;
#[path = "kernels/index.rs"]
mod index;
#[path = "kernels/matmul.rs"]
mod matmul;
#[path = "kernels/mistakes.rs"]
mod mistakes;
#[path = "kernels/random.rs"]
mod random;
#[path = "kernels/recurrent.rs"]
mod recurrent;
#[path = "kernels/reduce.rs"]
mod reduce;
#[path = "kernels/rotary.rs"]
mod rotary;
#[path = "kernels/rows.rs"]
mod rows;
#[path = "kernels/sample.rs"]
mod sample;
#[path = "kernels/scan.rs"]
mod scan;
#[path = "kernels/sort.rs"]
mod sort;
#[path = "kernels/support.rs"]
mod support;
#[path = "kernels/window.rs"]
mod window;
