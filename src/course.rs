//! The course: backpropagation from a single multiplication to a transformer, by reading and watching this crate.
//!
//! For whoever knows Rust and school calculus. A chapter has an idea, pictures that the crate made, code that runs (all of it is
//! tested with the crate), and exercises with solutions. Read them in order, or where you are curious.
//!
//! **Learning**
//!
//! 1. [Tensors and shapes](tensors): many numbers as one.
//! 2. [The derivative as a machine](derivative): what a small change does.
//! 3. [The chain rule on a graph](chain_rule): backpropagation in sixty lines, and the real one.
//! 4. [Gradient descent, and why it fails](descent): valleys, ravines, saddles.
//! 5. [A multi-layer perceptron](perceptron): by hand, then with layers.
//! 6. [Losses and the softmax trick](losses): what is to be made small, and how not to overflow.
//!
//! **Networks**
//!
//! 7. [Convolution](convolution): one small pattern, looked for everywhere.
//! 8. [Recurrence](recurrence): memory, the LSTM, and gradients that vanish.
//! 9. [Attention](attention): a transformer.
//!
//! **Practice**
//!
//! 10. [The craft of training](training_craft): normalisation, initialisation, optimizers.
//! 11. [Overfitting](overfitting): dropout, transfer learning, fine-tuning.
//! 12. [Confidence](confidence): what a model's certainty is worth.
//!
//! **Inside**
//!
//! 13. [An operation of your own](own_operation): written and checked.
//! 14. [A fast product](fast_product): how a matrix product is made fast.
//! 15. [A GPU kernel](gpu_kernel): how thousands of threads work together.
//!
//! **In use**: [on a GPU](on_a_gpu).
//!
//! **Coming from elsewhere**: [for users of PyTorch](for_pytorch), [for users of ndarray](for_ndarray).

/// A chapter is a module without anything in it. Its text follows the links to other chapters and its pictures as data: the
/// first definition of a link counts, and the ones at the end of the text are for those who read the file.
macro_rules! chapters {
    ($($name:ident = $file:literal $(with $images:literal)?;)*) => {$(
        $(#[doc = include_str!(concat!("../docs/course/images/", $images, ".md"))])?
        #[doc = include_str!("../docs/course/links.txt")]
        #[doc = include_str!(concat!("../docs/course/", $file, ".md"))]
        pub mod $name {}
    )*};
}

chapters! {
    tensors = "01_tensors" with "01_tensors";
    derivative = "02_derivative" with "02_derivative";
    chain_rule = "03_chain_rule" with "03_chain_rule";
    descent = "04_descent" with "04_descent";
    perceptron = "05_perceptron" with "05_perceptron";
    losses = "06_losses" with "06_losses";
    convolution = "07_convolution" with "07_convolution";
    recurrence = "08_recurrence" with "08_recurrence";
    attention = "09_attention" with "09_attention";
    training_craft = "10_training_craft" with "10_training_craft";
    overfitting = "11_overfitting" with "11_overfitting";
    confidence = "12_confidence" with "12_confidence";
    own_operation = "13_own_operation" with "13_own_operation";
    fast_product = "14_fast_product" with "14_fast_product";
    gpu_kernel = "15_gpu_kernel" with "15_gpu_kernel";
    on_a_gpu = "on_a_gpu";
    for_pytorch = "for_pytorch";
    for_ndarray = "for_ndarray";
}
