//! A reader of Python's pickles that can only make plain things.
//!
//! A pickle is a program for a small machine with a stack and a memo. This machine knows the instructions that files of
//! tensors need. It makes numbers, texts, lists, dictionaries and descriptions of tensors; what a pickle may name is a list
//! in this file, and nothing it names is ever run. Everything lives in one list of nodes that refer to each other by
//! number: a deep, shared or circular pickle is as flat in memory as any other.

use super::numbers::Stored;
use super::place::{damaged, foreign};
use super::tensors::shown;
use crate::error::Fault;

/// The number of a node.
pub(super) type Id = u32;

/// A thing that a pickle made. Texts are stretches of its bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    None,
    Flag(bool),
    Integer(i64),
    Number(f64),
    Text(u32, u32),
    /// A whole number beyond 64 bits, or bytes: there is no use for them.
    Other(u32, u32),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Dictionary(Vec<(Id, Id)>),
    Known(Known),
    /// What a persistent id says of a storage.
    Storage(Id),
    /// The arguments of a call that rebuilds a tensor.
    Tensor(Id),
}

/// What a pickle may name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Known {
    OrderedDictionary,
    /// A tensor of a storage, an offset, sizes and strides.
    Tensor,
    /// A parameter around a tensor.
    Parameter,
    /// Any of these calls, wrapped with a type and attributes.
    Wrapped,
    /// A type that stands in such a wrapping.
    Type,
    Size,
    Device,
    /// A storage of numbers of this kind.
    StorageOf(Stored),
    /// A storage of bytes, whose tensors say what they are.
    Bytes,
    Kind(Stored),
}

fn known(module: &str, name: &str) -> Option<Known> {
    Some(match (module, name) {
        ("collections", "OrderedDict") => Known::OrderedDictionary,
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => Known::Tensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Known::Parameter,
        ("torch._tensor", "_rebuild_from_type_v2") => Known::Wrapped,
        ("torch", "Tensor") | ("torch.nn.parameter", "Parameter" | "Buffer") => Known::Type,
        ("torch", "Size") => Known::Size,
        ("torch", "device") => Known::Device,
        ("torch.storage", "UntypedStorage") | ("torch", "UntypedStorage") => Known::Bytes,
        ("torch" | "torch.cuda", storage) if storage.ends_with("Storage") => Known::StorageOf(match storage {
            "DoubleStorage" => Stored::F64,
            "FloatStorage" => Stored::F32,
            "HalfStorage" => Stored::F16,
            "BFloat16Storage" => Stored::Bf16,
            "LongStorage" => Stored::I64,
            "IntStorage" => Stored::I32,
            "ShortStorage" => Stored::I16,
            "CharStorage" => Stored::I8,
            "ByteStorage" => Stored::U8,
            "BoolStorage" => Stored::Bool,
            _ => return None,
        }),
        ("torch", kind) => Known::Kind(match kind {
            "float64" => Stored::F64,
            "float32" => Stored::F32,
            "float16" => Stored::F16,
            "bfloat16" => Stored::Bf16,
            "float8_e4m3fn" => Stored::F8E4M3,
            "float8_e5m2" => Stored::F8E5M2,
            "int64" => Stored::I64,
            "int32" => Stored::I32,
            "int16" => Stored::I16,
            "int8" => Stored::I8,
            "uint64" => Stored::U64,
            "uint32" => Stored::U32,
            "uint16" => Stored::U16,
            "uint8" => Stored::U8,
            "bool" => Stored::Bool,
            _ => return None,
        }),
        _ => return None,
    })
}

/// More nodes than any file of tensors makes; with them a pickle takes a few hundred megabytes at most.
const MOST_NODES: usize = 4 << 20;

/// What a pickle made.
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
    /// The thing itself.
    pub(super) root: Id,
    /// Where the pickle ends.
    pub(super) end: usize,
}

impl<'a> Pickle<'a> {
    /// Runs the pickle that begins at `at`.
    pub(super) fn read(bytes: &'a [u8], at: usize) -> Result<Pickle<'a>, Fault> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(foreign(format!("a pickle of {} bytes", bytes.len()), "only tensors should be so large"));
        }
        let mut machine =
            Machine { bytes, at, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: Vec::new() };
        let root = loop {
            if let Some(root) = machine.step()? {
                break root;
            }
        };
        Ok(Pickle { bytes, nodes: machine.nodes, root, end: machine.at })
    }
    pub(super) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }
    /// Bytes of the pickle and nodes made of it: what it may reasonably unfold to grows with them.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.nodes.len()
    }
    /// The descriptions of all storages.
    pub(super) fn storages(&self) -> impl Iterator<Item = Id> {
        self.nodes.iter().filter_map(|node| match node {
            Node::Storage(id) => Some(*id),
            _ => None,
        })
    }
    /// The text of a node that is one.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match *self.node(id) {
            Node::Text(start, end) => text(self.bytes, start, end),
            _ => None,
        }
    }
    pub(super) fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }
    pub(super) fn integer(&self, id: Id) -> Option<i64> {
        match *self.node(id) {
            Node::Integer(number) => Some(number),
            _ => None,
        }
    }
}

fn text(bytes: &[u8], start: u32, end: u32) -> Option<&str> {
    std::str::from_utf8(bytes.get(start as usize..end as usize)?).ok()
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    /// What was remembered, by its number; numbers are given in order.
    memo: Vec<Option<Id>>,
}

impl Machine<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], Fault> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| damaged(format!("the pickle breaks off at its byte {}", self.at)))?;
        self.at += count;
        Ok(taken)
    }
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let at = self.at;
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| damaged(format!("the pickle breaks off at its byte {at}")))
    }
    fn u8(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(self.array::<1>()?[0]))
    }
    fn u16(&mut self) -> Result<usize, Fault> {
        Ok(usize::from(u16::from_le_bytes(self.array()?)))
    }
    fn u32(&mut self) -> Result<usize, Fault> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }
    fn u64(&mut self) -> Result<usize, Fault> {
        let number = u64::from_le_bytes(self.array()?);
        usize::try_from(number).map_err(|_| damaged(format!("the pickle says that {number} bytes follow")))
    }
    /// The bytes up to the end of the line.
    fn line(&mut self) -> Result<&str, Fault> {
        const LONGEST: usize = 1000;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().take(LONGEST).position(|&b| b == b'\n');
        let line = length.and_then(|length| std::str::from_utf8(rest.get(..length)?).ok());
        let line = line.ok_or_else(|| damaged(format!("the pickle has no name at its byte {}", self.at)))?;
        self.at += line.len() + 1;
        Ok(line)
    }

    fn add(&mut self, node: Node) -> Result<Id, Fault> {
        if self.nodes.len() >= MOST_NODES {
            return Err(foreign(format!("the pickle makes more than {MOST_NODES} things"), "save tensors only"));
        }
        self.nodes.push(node);
        Ok((self.nodes.len() - 1) as Id)
    }
    fn push(&mut self, node: Node) -> Result<(), Fault> {
        let id = self.add(node)?;
        self.stack.push(id);
        Ok(())
    }
    #[cold]
    fn empty(&self) -> Fault {
        damaged(format!("the pickle takes what it has not made, at its byte {}", self.at))
    }
    /// The lowest place of the stack that may be taken: what lies under a mark may not.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }
    fn pop(&mut self) -> Result<Id, Fault> {
        if self.stack.len() <= self.floor() {
            return Err(self.empty());
        }
        self.stack.pop().ok_or_else(|| self.empty())
    }
    fn top(&self) -> Result<Id, Fault> {
        if self.stack.len() <= self.floor() {
            return Err(self.empty());
        }
        self.stack.last().copied().ok_or_else(|| self.empty())
    }
    /// Everything above the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop().ok_or_else(|| self.empty())?;
        if mark > self.stack.len() {
            return Err(self.empty());
        }
        Ok(self.stack.split_off(mark))
    }
    fn node(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::None)
    }
    fn remember(&mut self, number: usize) -> Result<(), Fault> {
        let top = self.top()?;
        // Each number costs the pickle an instruction, so honest ones stay below the count of those.
        if number > self.bytes.len() {
            return Err(damaged(format!("the pickle remembers something as number {number}")));
        }
        if number >= self.memo.len() {
            self.memo.resize(number + 1, None);
        }
        if let Some(place) = self.memo.get_mut(number) {
            *place = Some(top);
        }
        Ok(())
    }
    fn recall(&mut self, number: usize) -> Result<(), Fault> {
        match self.memo.get(number) {
            Some(&Some(id)) => {
                self.stack.push(id);
                // What stands on the stack without being new is limited too.
                if self.stack.len() > MOST_NODES { Err(self.empty()) } else { Ok(()) }
            }
            _ => Err(damaged(format!("the pickle recalls number {number}, which it has not remembered"))),
        }
    }
    fn stretch(&mut self, count: usize) -> Result<(u32, u32), Fault> {
        let start = self.at;
        self.take(count)?;
        Ok((start as u32, self.at as u32)) // pickles are shorter than 4 GiB
    }
    fn push_text(&mut self, count: usize) -> Result<(), Fault> {
        let (start, end) = self.stretch(count)?;
        if text(self.bytes, start, end).is_none() {
            return Err(damaged("a text of the pickle is not UTF-8"));
        }
        self.push(Node::Text(start, end))
    }
    fn push_whole(&mut self, count: usize) -> Result<(), Fault> {
        let (start, end) = self.stretch(count)?;
        let bytes = self.bytes.get(start as usize..end as usize).unwrap_or_default();
        if count > 8 {
            return self.push(Node::Other(start, end));
        }
        let negative = bytes.last().is_some_and(|last| last & 128 != 0);
        let mut wide = [if negative { 255 } else { 0 }; 8];
        wide.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        self.push(Node::Integer(i64::from_le_bytes(wide)))
    }

    /// One instruction; the last one gives the result.
    fn step(&mut self) -> Result<Option<Id>, Fault> {
        let at = self.at;
        let [instruction] = self.array::<1>()?;
        match instruction {
            0x80 => {
                self.u8()?; // the protocol
            }
            0x95 => {
                self.u64()?; // how long a frame is
            }
            b'.' => return self.pop().map(Some),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.marked()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Flag(true))?,
            0x89 => self.push(Node::Flag(false))?,
            b'J' => {
                let number = i32::from_le_bytes(self.array()?);
                self.push(Node::Integer(number.into()))?;
            }
            b'K' => {
                let number = self.u8()?;
                self.push(Node::Integer(number as i64))?;
            }
            b'M' => {
                let number = self.u16()?;
                self.push(Node::Integer(number as i64))?;
            }
            0x8a => {
                let count = self.u8()?;
                self.push_whole(count)?;
            }
            0x8b => {
                let count = self.u32()?;
                self.push_whole(count)?;
            }
            b'G' => {
                let number = f64::from_be_bytes(self.array()?);
                self.push(Node::Number(number))?;
            }
            b'X' | b'T' => {
                let count = self.u32()?;
                self.push_text(count)?;
            }
            0x8c | b'U' => {
                let count = self.u8()?;
                self.push_text(count)?;
            }
            0x8d => {
                let count = self.u64()?;
                self.push_text(count)?;
            }
            b'C' => {
                let count = self.u8()?;
                let (start, end) = self.stretch(count)?;
                self.push(Node::Other(start, end))?;
            }
            b'B' => {
                let count = self.u32()?;
                let (start, end) = self.stretch(count)?;
                self.push(Node::Other(start, end))?;
            }
            b']' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dictionary(Vec::new()))?,
            b')' => self.push(Node::Tuple(Box::default()))?,
            b'l' => {
                let items = self.marked()?;
                self.push(Node::List(items))?;
            }
            b't' => {
                let items = self.marked()?;
                self.push(Node::Tuple(items.into()))?;
            }
            0x85..=0x87 => {
                let count = usize::from(instruction - 0x84);
                let mut items = [0; 3];
                let items = items.get_mut(..count).unwrap_or_default();
                for item in items.iter_mut().rev() {
                    *item = self.pop()?;
                }
                let items: &[Id] = items;
                self.push(Node::Tuple(items.into()))?;
            }
            b'd' => {
                let items = self.marked()?;
                self.push(Node::Dictionary(Vec::new()))?;
                self.fill(&items)?;
            }
            b'a' => {
                let item = self.pop()?;
                self.extend(&[item])?;
            }
            b'e' => {
                let items = self.marked()?;
                self.extend(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.fill(&[key, value])?;
            }
            b'u' => {
                let items = self.marked()?;
                self.fill(&items)?;
            }
            b'q' => {
                let number = self.u8()?;
                self.remember(number)?;
            }
            b'r' => {
                let number = self.u32()?;
                self.remember(number)?;
            }
            0x94 => self.remember(self.memo.len())?,
            b'h' => {
                let number = self.u8()?;
                self.recall(number)?;
            }
            b'j' => {
                let number = self.u32()?;
                self.recall(number)?;
            }
            b'c' => {
                let module = self.line()?.to_string();
                let name = self.line()?.to_string();
                self.name(&module, &name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (&Node::Text(a, b), &Node::Text(c, d)) = (self.node(module), self.node(name)) else {
                    return Err(damaged("the pickle names something without texts"));
                };
                let bytes = self.bytes;
                self.name(text(bytes, a, b).unwrap_or_default(), text(bytes, c, d).unwrap_or_default())?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Storage(id))?;
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let made = self.call(callee, arguments)?;
                self.stack.push(made);
            }
            b'b' => {
                // Attributes beside the entries of a dictionary (its versions), or of a parameter: not needed.
                self.pop()?;
                let target = self.top()?;
                if !matches!(self.node(target), Node::Dictionary(_) | Node::Tensor(_)) {
                    return Err(damaged("the pickle sets attributes of something that has none"));
                }
            }
            other => {
                let what = format!("the pickle has the instruction {other:#04x} at its byte {at}");
                return Err(foreign(what, "files of tensors need none such: save the state_dict with torch.save"));
            }
        }
        Ok(None)
    }

    #[cold]
    fn refused(&self, module: &str, name: &str) -> Fault {
        let (module, name) = (shown(module), shown(name));
        let help = "nothing that a file names is run: save the state_dict, torch.save(model.state_dict(), path)";
        foreign(format!("the file wants {module}.{name}, which is no part of tensors and plain things"), help)
    }
    fn name(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        match known(module, name) {
            Some(known) => self.push(Node::Known(known)),
            None => Err(self.refused(module, name)),
        }
    }
    fn extend(&mut self, items: &[Id]) -> Result<(), Fault> {
        let list = self.top()?;
        match self.nodes.get_mut(list as usize) {
            Some(Node::List(list)) => {
                list.extend_from_slice(items);
                Ok(())
            }
            _ => Err(damaged("the pickle appends to something that is no list")),
        }
    }
    fn fill(&mut self, items: &[Id]) -> Result<(), Fault> {
        let dictionary = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.nodes.get_mut(dictionary as usize) {
            Some(Node::Dictionary(entries)) if rest.is_empty() => {
                entries.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(damaged("the pickle sets entries of something that is no dictionary")),
        }
    }
    /// What a call makes: nothing is run, its arguments are put down as what they describe.
    fn call(&mut self, callee: Id, arguments: Id) -> Result<Id, Fault> {
        let wrong = || damaged("the pickle makes something of arguments that do not fit");
        let &Node::Known(known) = self.node(callee) else {
            return Err(damaged("the pickle calls something that is no function"));
        };
        let Node::Tuple(items) = self.node(arguments) else { return Err(wrong()) };
        match (known, &items[..]) {
            (Known::OrderedDictionary, []) => self.add(Node::Dictionary(Vec::new())),
            (Known::OrderedDictionary, &[pairs]) => self.dictionary(pairs),
            (Known::Tensor, [_, _, _, _, ..]) => self.add(Node::Tensor(arguments)),
            (Known::Parameter, &[tensor, ..]) if matches!(self.node(tensor), Node::Tensor(_)) => Ok(tensor),
            (Known::Size | Known::Device, &[inner]) => Ok(inner),
            (Known::Wrapped, &[function, _, inner, ..]) => match self.node(function) {
                Node::Known(Known::Tensor | Known::Parameter) => self.call(function, inner),
                _ => Err(wrong()),
            },
            _ => Err(wrong()),
        }
    }
    /// A dictionary from a list of pairs.
    fn dictionary(&mut self, pairs: Id) -> Result<Id, Fault> {
        let wrong = || damaged("the pickle makes a dictionary of something that is no list of pairs");
        let Node::List(list) = self.node(pairs) else { return Err(wrong()) };
        let mut entries = Vec::with_capacity(list.len());
        for &pair in list {
            match self.node(pair) {
                Node::Tuple(pair) if pair.len() == 2 => entries.push((pair[0], pair[1])),
                Node::List(pair) if pair.len() == 2 => entries.push((pair[0], pair[1])),
                _ => return Err(wrong()),
            }
        }
        self.add(Node::Dictionary(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Node, Fault> {
        let pickle = Pickle::read(bytes, 0)?;
        Ok(pickle.node(pickle.root).clone())
    }

    #[test]
    fn plain_things_are_made() {
        assert_eq!(read(b"\x80\x02K\x07.").unwrap(), Node::Integer(7));
        assert_eq!(read(b"J\xff\xff\xff\xff.").unwrap(), Node::Integer(-1));
        assert_eq!(read(b"\x8a\x02\x00\x80.").unwrap(), Node::Integer(-32768));
        assert_eq!(read(b"\x8a\x00.").unwrap(), Node::Integer(0));
        assert_eq!(read(b"G\x3f\xf0\0\0\0\0\0\0.").unwrap(), Node::Number(1.0));
        assert_eq!(read(b"]q\x00(K\x01h\x00e.").unwrap(), Node::List(vec![1, 0]), "a list that holds itself");
        assert_eq!(read(b"}(K\x01K\x02u.").unwrap(), Node::Dictionary(vec![(1, 2)]));
        assert_eq!(read(b"ccollections\nOrderedDict\n)R.").unwrap(), Node::Dictionary(vec![]));
    }

    #[test]
    fn what_a_pickle_must_not_do_is_refused() {
        let refused: [(&[u8], &str); 14] = [
            (b"cos\nsystem\n(X\x02\0\0\0lstR.", "os.system"),
            (b"cbuiltins\neval\n", "builtins.eval"),
            (b"\x8c\x02os\x8c\x06system\x93.", "os.system"),
            (b"ctorch\nFloat7Storage\n.", "torch.Float7Storage"),
            (b"K\x01.", ""),
            (b".", "takes what it has not made"),
            (b"(.", "takes what it has not made"),
            (b"K\x01(0.", "takes what it has not made"),
            (b"e", "takes what it has not made"),
            (b"h\x00.", "recalls number 0"),
            (b"Nr\xff\xff\xff\x7f.", "remembers something as number"),
            (b"K\x01)R.", "no function"),
            (b"i", "instruction 0x69"),
            (b"X\xff\xff\xff\xff", "breaks off"),
        ];
        for (bytes, words) in refused {
            match read(bytes) {
                Ok(node) => assert_eq!((node, words), (Node::Integer(1), "")),
                Err(fault) => assert!(!words.is_empty() && fault.what().contains(words), "{bytes:?}: {}", fault.what()),
            }
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        // A million tuples inside each other are as flat as any other list of nodes.
        let mut deep = b")".to_vec();
        deep.extend(std::iter::repeat_n(0x85, 1_000_000));
        deep.push(b'.');
        assert!(matches!(read(&deep).unwrap(), Node::Tuple(_)));
        let many = vec![b'N'; MOST_NODES + 1];
        assert!(read(&many).unwrap_err().what().contains("more than"));
    }
}
