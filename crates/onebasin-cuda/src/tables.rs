//! Tables of positions, packed so that one transfer brings all of a call.

use std::collections::HashMap;

use onebasin_core::matching::Table;

/// Where one table lies among the packed ones, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TablePlace {
    /// Its positions, u32.
    pub(crate) positions: usize,
    /// Its offsets, u64.
    pub(crate) offsets: usize,
    /// Its contexts, u32.
    pub(crate) contexts: usize,
}

/// Tables, one after the other: offsets first, which need the larger alignment.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    offsets: Vec<u64>,
    rest: Vec<u32>,
    /// Lists packed before, by where they lie in this memory and how long they are.
    known: HashMap<(usize, usize), usize>,
    zeros: Option<(usize, usize)>,
    places: Vec<[usize; 3]>,
}

impl Packed {
    /// Packs a table; rows of one tensor are packed once, however many tables share them.
    pub(crate) fn add(&mut self, table: &Table<'_>) {
        let offsets = self.offsets.len();
        self.offsets.extend(table.offsets.iter().map(|&at| at as u64));
        let key = (table.positions.as_ptr().addr(), table.positions.len());
        let positions = *self.known.entry(key).or_insert_with(|| {
            self.rest.extend(table.positions);
            self.rest.len() - table.positions.len()
        });
        let columns = table.offsets.len();
        let contexts = if table.contexts.is_empty() { self.none(columns) } else { self.append(table.contexts) };
        self.places.push([positions, offsets, contexts]);
    }

    fn append(&mut self, list: &[u32]) -> usize {
        self.rest.extend(list);
        self.rest.len() - list.len()
    }

    /// Contexts of columns that have the first, shared by all tables.
    fn none(&mut self, columns: usize) -> usize {
        match self.zeros {
            Some((at, len)) if len >= columns => at,
            Some(_) | None => {
                let at = self.append(&vec![0; columns]);
                self.zeros = Some((at, columns));
                at
            }
        }
    }

    /// All tables as bytes, and where each lies, in the order in which they were added.
    pub(crate) fn finish(self) -> (Vec<u8>, Vec<TablePlace>) {
        let rest = 8 * self.offsets.len();
        let place = |[positions, offsets, contexts]: [usize; 3]| TablePlace {
            positions: rest + 4 * positions,
            offsets: 8 * offsets,
            contexts: rest + 4 * contexts,
        };
        let places = self.places.into_iter().map(place).collect();
        let mut bytes = bytemuck::cast_slice(&self.offsets).to_vec();
        bytes.extend_from_slice(bytemuck::cast_slice(&self.rest));
        (bytes, places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_found_where_their_places_say() {
        let positions = [4, 5, 6];
        let (short, long) = (vec![7, 8], vec![9, 10, 11]);
        let plain = |offsets| Table { positions: &positions, context: 1, stride: 2, offsets, contexts: &[] };
        let tables = [plain(&short), plain(&long), Table { contexts: &[0, 1], context: 2, ..plain(&short) }];
        let mut packed = Packed::default();
        for table in &tables {
            packed.add(table);
        }
        let (bytes, places) = packed.finish();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        for (table, place) in tables.iter().zip(&places) {
            assert_eq!(place.offsets % 8, 0);
            for (k, &offset) in table.offsets.iter().enumerate() {
                let at = place.offsets + 8 * k;
                assert_eq!(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()), offset as u64);
                let context = table.contexts.get(k).copied().unwrap_or(0);
                assert_eq!(word(place.contexts + 4 * k), context);
            }
            positions.iter().enumerate().for_each(|(k, &p)| assert_eq!(word(place.positions + 4 * k), p));
        }
        assert_eq!(places[0].positions, places[1].positions, "rows are packed once");
    }
}
