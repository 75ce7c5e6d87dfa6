//! Where the fields of keys and values are: what lets a data path take flows over from maps of an
//! earlier [`ABI`](super::ABI).
//!
//! Every ABI's layouts are committed as text, `abi/NUMBER.txt`, written by the test here from the types
//! themselves. A field keeps its name as long as it keeps its meaning and its size; one that is called
//! `padding` is none.

/// A field of a map's key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Octets before it.
    pub offset: usize,
    /// Its octets.
    pub size: usize,
}

/// A key or a value whose fields are known by name.
pub trait Layout: super::Plain {
    /// All of its fields, in order, padding included.
    const FIELDS: &'static [Field];
}

/// The committed layouts by ABI, the latest last.
pub const COMMITTED: &[(u32, &str)] = &[
    (2, include_str!("../../abi/2.txt")),
    (3, include_str!("../../abi/3.txt")),
    (4, include_str!("../../abi/4.txt")),
];

/// Implements [`Layout`]; every field must be named, in order.
macro_rules! layout {
    ($type:ident { $($field:ident),+ $(,)? }) => {
        impl $crate::map::layout::Layout for $type {
            const FIELDS: &'static [$crate::map::layout::Field] = {
                let fields: &[_] = &[$($crate::map::layout::Field {
                    name: stringify!($field),
                    offset: core::mem::offset_of!($type, $field),
                    size: $crate::map::layout::size_by(|it: &$type| &it.$field),
                }),+];
                assert!($crate::map::layout::covers(fields, size_of::<$type>()));
                fields
            };
        }
    };
}
pub(crate) use layout;

/// Size of what a function finds in a value.
pub(crate) const fn size_by<T, F>(_: fn(&T) -> &F) -> usize {
    size_of::<F>()
}

/// Whether the fields fill `size` octets, one after the other.
pub(crate) const fn covers(fields: &[Field], size: usize) -> bool {
    let (mut end, mut index) = (0, 0);
    while index < fields.len() {
        if fields[index].offset != end {
            return false;
        }
        end += fields[index].size;
        index += 1;
    }
    end == size
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;
    use crate::{
        for_each_map,
        map::{
            ABI, Allows, Backends, Clock, Counters, Current, Flow, FlowKey, Flows, FragmentKey,
            Fragmented, Fragments, Map, Names, NatKey, Nats, OpeningNats, Openings, Ports,
            Presences, Routes, Services, SettingsSlots, Slots, Usages, settings,
        },
    };

    fn fields(map: &str, part: &str, fields: &[Field]) -> String {
        let named = fields.iter().filter(|field| field.name != "padding");
        let named = named.map(|it| format!(" {}@{}+{}", it.name, it.offset, it.size));
        format!("{map} {part}:{}\n", named.collect::<String>())
    }

    /// A line for each map, and one for the key and the value of those that the programs write.
    fn layouts() -> String {
        let mut text = format!("abi {ABI}\n");
        macro_rules! describe {
            ($($map:ident),+) => {
                $(text.push_str(&format!(
                    "{} {:?} key {} value {} capacity {}\n",
                    $map::NAME, $map::KIND,
                    size_of::<<$map as Map>::Key>(), size_of::<<$map as Map>::Value>(),
                    $map::CAPACITY,
                ));)+
            };
        }
        for_each_map!(describe);
        text.push_str(settings::LAYOUT);
        for flows in [Flows::NAME, Openings::NAME] {
            text.push_str(&fields(flows, "key", FlowKey::FIELDS));
            text.push_str(&fields(flows, "value", Flow::FIELDS));
        }
        for nats in [Nats::NAME, OpeningNats::NAME] {
            text.push_str(&fields(nats, "key", NatKey::FIELDS));
            text.push_str(&fields(nats, "value", FlowKey::FIELDS));
        }
        text.push_str(&fields(Fragments::NAME, "key", FragmentKey::FIELDS));
        text.push_str(&fields(Fragments::NAME, "value", Fragmented::FIELDS));
        text
    }

    /// `WRITE_ABI=1 cargo test -p gateway-common layouts` writes the file of a new number.
    #[test]
    #[cfg_attr(feature = "rehearsal", ignore = "the rehearsed layout is committed nowhere")]
    fn layouts_are_the_committed_ones() {
        let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("abi/{ABI}.txt"));
        if env::var_os("WRITE_ABI").is_some() {
            fs::write(&place, layouts()).expect("writable");
        }
        let committed = fs::read_to_string(&place).unwrap_or_default();
        assert_eq!(
            layouts(),
            committed,
            "a map's layout changed: raise map::COMMITTED and commit {}",
            place.display()
        );
    }

    #[test]
    fn every_committed_file_is_known_by_its_number() {
        let place = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("abi");
        let mut numbers: Vec<u32> = fs::read_dir(place)
            .expect("it is there")
            .map(|entry| entry.expect("readable").path())
            .map(|path| {
                path.file_stem().expect("a name").to_string_lossy().parse().expect("a number")
            })
            .collect();
        numbers.sort_unstable();
        let known: Vec<u32> = COMMITTED.iter().map(|(number, _)| *number).collect();
        assert_eq!(known, numbers);
        assert!(
            COMMITTED.iter().all(|(number, text)| text.starts_with(&format!("abi {number}\n")))
        );
    }
}
