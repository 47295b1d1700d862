//! The sequences of one step, cut into units that pass through the network as one tensor each.
//!
//! Sequences of a unit are equally long, so that nothing is padded. Units depend on the sequences alone, never on threads
//! or memory: gradients are added unit by unit.

/// Tokens that a unit may hold beyond its first sequence: enough rows for matrix products to run at full speed.
const UNIT_TOKENS: usize = 512;

/// Of the hash FNV-1a.
const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_FACTOR: u64 = 0x0000_0100_0000_01b3;

/// Sequences of one step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    sequences: Vec<Vec<u32>>,
    units: Vec<Vec<usize>>,
}

impl Batch {
    /// Cuts `sequences`, none of them empty, into units.
    pub fn new(sequences: Vec<Vec<u32>>) -> Self {
        let length = |index: &usize| sequences[*index].len();
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(length);
        let runs = order.chunk_by(|left, right| length(left) == length(right));
        let units = runs.flat_map(|run| {
            let size = (UNIT_TOKENS / length(&run[0]).max(1)).max(1);
            run.chunks(size).map(<[usize]>::to_vec)
        });
        Self {
            units: units.collect(),
            sequences,
        }
    }

    /// The same sequences with a unit for each: what a sequence gives then is the same in any company, to the last bit.
    pub fn apart(self) -> Self {
        Self {
            units: (0..self.sequences.len()).map(|index| vec![index]).collect(),
            ..self
        }
    }

    /// All sequences.
    pub fn sequences(&self) -> &[Vec<u32>] {
        &self.sequences
    }

    /// Tokens of all sequences.
    pub fn tokens(&self) -> usize {
        self.sequences.iter().map(Vec::len).sum()
    }

    /// Number of units.
    pub(super) fn units(&self) -> usize {
        self.units.len()
    }

    /// Indices of the sequences of one unit.
    pub(super) fn members(&self, unit: usize) -> &[usize] {
        &self.units[unit]
    }

    /// A number of each sequence of one unit, that hangs on its tokens alone.
    pub(super) fn numbers(&self, unit: usize) -> Vec<u64> {
        let number = |&member: &usize| {
            let ids = self.sequences[member].iter();
            ids.fold(FNV_START, |hash, &id| {
                (hash ^ u64::from(id)).wrapping_mul(FNV_FACTOR)
            })
        };
        self.members(unit).iter().map(number).collect()
    }

    /// Tokens of each sequence of one unit.
    pub(super) fn unit_length(&self, unit: usize) -> usize {
        self.sequences[self.units[unit][0]].len()
    }
}
