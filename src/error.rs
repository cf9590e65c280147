//! What went wrong, with what, where, and what to do about it.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The family of an error, for programs that react to it.
///
/// ```
/// use chainrule::{ErrorKind, Tensor};
/// let sum = Tensor::from([1.0, 2.0]) + Tensor::from([1.0, 2.0, 3.0]);
/// assert_eq!(sum.checked().unwrap_err().kind(), ErrorKind::Shape);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Shapes, ranks or axes do not fit.
    Shape,
    /// The element type does not fit.
    DType,
    /// Tensors live on different devices, or the device cannot do it.
    Device,
    /// An index lies outside.
    Index,
    /// A number, text or attribute has a value that makes no sense here.
    Value,
    /// There is not enough memory, or the sizes are absurd.
    Memory,
    /// A gradient is missing, freed, or there is none.
    Gradient,
    /// NaN or infinity appeared where it was watched for.
    NonFinite,
    /// A file or stream could not be read or written.
    Io,
    /// A defect of this library.
    Defect,
}

/// What an operation knows about its failure; the engine adds the operation, the operands and the place.
///
/// ```
/// use chainrule::{ErrorKind, Fault};
/// let fault = Fault::shape("the inner sizes differ", "transpose the right one");
/// assert_eq!((fault.kind(), fault.what()), (ErrorKind::Shape, "the inner sizes differ"));
/// ```
// One pointer: results that may be faults are as small as what they hold otherwise, wherever they are handed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(Arc<Words>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    kind: ErrorKind,
    what: String,
    help: String,
}

impl Fault {
    /// A fault of the given family.
    #[cold]
    pub fn new(kind: ErrorKind, what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault(Arc::new(Words { kind, what: what.into(), help: help.into() }))
    }
    /// The family.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }
    /// What is wrong, in one sentence part without a full stop: "the inner sizes differ".
    pub fn what(&self) -> &str {
        &self.0.what
    }
    /// What to do about it; may be empty.
    pub fn help(&self) -> &str {
        &self.0.help
    }
    /// The same fault in other words.
    #[cold]
    pub(crate) fn saying(&self, what: impl Into<String>) -> Fault {
        Fault::new(self.kind(), what, self.help())
    }
    /// The same fault with another way out.
    #[cold]
    pub(crate) fn helped(&self, help: impl Into<String>) -> Fault {
        Fault::new(self.kind(), self.what(), help)
    }
    /// Shapes, ranks or axes do not fit.
    #[cold]
    pub fn shape(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::Shape, what, help)
    }
    /// The element type does not fit.
    #[cold]
    pub fn dtype(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::DType, what, help)
    }
    /// An index lies outside.
    #[cold]
    pub fn index(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::Index, what, help)
    }
    /// An attribute has a value that makes no sense.
    #[cold]
    pub fn value(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::Value, what, help)
    }
    /// The device cannot do it.
    #[cold]
    pub fn device(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::Device, what, help)
    }
    /// Not enough memory.
    #[cold]
    pub fn memory(what: impl Into<String>, help: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::Memory, what, help)
    }
    /// A bug of this library; the text asks for a report.
    #[cold]
    pub fn defect(what: impl Into<String>) -> Fault {
        Fault::new(ErrorKind::Defect, what, "this is a defect of chainrule: please report it with the lines above")
    }
}

/// An operand as an error shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operand {
    /// What it is to the operation: "left", "input 2".
    pub role: String,
    /// Its name, where it has one: `encoder.layers.2.fc1.weight`.
    pub name: Option<String>,
    /// Shape and element type, as text: `[32, 511] f32`.
    pub what: String,
}

#[derive(Clone, Debug)]
struct Report {
    operation: &'static str,
    fault: Fault,
    operands: Vec<Operand>,
    location: &'static Location<'static>,
}

/// An error that teaches: the operation, every operand, the place in your source, and how to mend it.
///
/// It is cheap to clone, since a failed tensor hands it on to everything computed from it.
///
/// ```
/// use chainrule::Tensor;
/// let failed = Tensor::zeros(&[2, 3]).matmul(&Tensor::zeros(&[4, 5]));
/// let error = failed.checked().unwrap_err();
/// assert_eq!(error.operation(), "matmul");
/// assert!(error.to_string().contains("[2, 3]"));
/// ```
#[derive(Clone)]
pub struct Error(Arc<Report>);

impl Error {
    /// An error of `operation` at the caller's place.
    #[cold]
    #[track_caller]
    pub fn new(operation: &'static str, fault: Fault) -> Error {
        Error::with(operation, fault, Vec::new(), Location::caller())
    }
    /// An error with its operands, at a place taken earlier.
    #[cold]
    pub fn with(
        operation: &'static str,
        fault: Fault,
        operands: Vec<Operand>,
        location: &'static Location<'static>,
    ) -> Error {
        Error(Arc::new(Report { operation, fault, operands, location }))
    }
    /// What went wrong inside of the library, in a closure that does not know its caller, went wrong at this line of the caller's.
    #[cold]
    pub(crate) fn called_at(self, location: &'static Location<'static>) -> Error {
        let here = file!().trim_end_matches("error.rs");
        // An operation that is handed over as a function is called by the standard library.
        if self.location().file().starts_with(here) || self.location().file().starts_with("/rustc/") {
            return Error(Arc::new(Report { location, ..(*self.0).clone() }));
        }
        self
    }
    /// The family of this error.
    pub fn kind(&self) -> ErrorKind {
        self.0.fault.kind()
    }
    /// The operation that failed.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }
    /// What is wrong.
    pub fn what(&self) -> &str {
        self.0.fault.what()
    }
    /// What to do about it.
    pub fn help(&self) -> &str {
        self.0.fault.help()
    }
    /// The operands of the operation.
    pub fn operands(&self) -> &[Operand] {
        &self.0.operands
    }
    /// Where in the caller's source the operation stands.
    pub fn location(&self) -> &'static Location<'static> {
        self.0.location
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &*self.0;
        writeln!(f, "{}: {}", report.operation, report.fault.what())?;
        let name = |operand: &Operand| operand.name.clone().unwrap_or_default();
        let role_width = report.operands.iter().map(|o| o.role.chars().count()).max().unwrap_or(0).max(4);
        let name_width = report.operands.iter().map(|o| name(o).chars().count()).max().unwrap_or(0);
        for operand in &report.operands {
            write!(f, "  {:role_width$}  ", operand.role)?;
            if name_width > 0 {
                write!(f, "{:name_width$}  ", name(operand))?;
            }
            writeln!(f, "{}", operand.what)?;
        }
        if !report.fault.help().is_empty() {
            writeln!(f, "  {:role_width$}  {}", "help", report.fault.help())?;
        }
        write!(f, "  {:role_width$}  {}:{}", "at", report.location.file(), report.location.line())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{self}")
    }
}

impl std::error::Error for Error {}
