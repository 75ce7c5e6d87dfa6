//! The committed layouts of earlier map ABIs, and an entry of one of them as one of this build's types.
//! Pure.
//!
//! A field is found by its name and copied if it has the same size; one that is new is zeros, one that is
//! gone is dropped.

use std::collections::BTreeMap;

use gateway_common::map::{
    ABI, Plain,
    layout::{COMMITTED, Layout},
};

/// Where the fields of a key or a value are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields(BTreeMap<String, (usize, usize)>);

/// A map as it was declared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapLayout {
    /// Octets of a key.
    pub(crate) key_size: usize,
    /// Octets of a value.
    pub(crate) value_size: usize,
    pub(crate) key: Fields,
    pub(crate) value: Fields,
}

/// Maps of an ABI by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Descriptor(BTreeMap<String, MapLayout>);

/// The numbers of the ABIs from which flows can be taken over.
pub(crate) fn known() -> impl Iterator<Item = u32> {
    COMMITTED.iter().map(|(number, _)| *number).filter(|number| *number < ABI)
}

impl Descriptor {
    /// The layouts of an earlier ABI; `None` of one that is not known.
    pub(crate) fn of(abi: u32) -> Option<Self> {
        let known = COMMITTED.iter().filter(|(number, _)| *number < ABI);
        let (_, text) = known.clone().find(|(number, _)| *number == abi)?;
        Self::parse(text)
    }

    /// A map's layout, if its fields are known.
    pub(crate) fn map(&self, name: &str) -> Option<&MapLayout> {
        let layout = self.0.get(name)?;
        (!layout.key.0.is_empty() && !layout.value.0.is_empty()).then_some(layout)
    }

    /// Lines `NAME KIND key SIZE value SIZE …` and `NAME key|value: FIELD@OFFSET+SIZE …`; others say
    /// nothing here. `None` where a line contradicts itself.
    fn parse(text: &str) -> Option<Self> {
        let mut maps: BTreeMap<String, MapLayout> = BTreeMap::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                [name, _, "key", key, "value", value, ..] => {
                    let map = maps.entry((*name).to_owned()).or_default();
                    (map.key_size, map.value_size) = (key.parse().ok()?, value.parse().ok()?);
                }
                [name, part @ ("key:" | "value:"), fields @ ..] => {
                    let map = maps.get_mut(*name)?;
                    let is_key = *part == "key:";
                    let size = if is_key { map.key_size } else { map.value_size };
                    let fields = Fields::parse(fields, size)?;
                    if is_key { map.key = fields } else { map.value = fields }
                }
                _ => {}
            }
        }
        Some(Self(maps))
    }
}

impl Fields {
    fn parse(words: &[&str], size: usize) -> Option<Self> {
        let mut fields = BTreeMap::new();
        for word in words {
            let (name, place) = word.split_once('@')?;
            let (offset, octets) = place.split_once('+')?;
            let (offset, octets): (usize, usize) = (offset.parse().ok()?, octets.parse().ok()?);
            if offset.checked_add(octets)? > size {
                return None;
            }
            fields.insert(name.to_owned(), (offset, octets));
        }
        Some(Self(fields))
    }

    /// An entry's bytes as one of this build's types.
    pub(crate) fn translate<T: Layout>(&self, bytes: &[u8]) -> T {
        let mut new = vec![0; size_of::<T>()];
        for field in T::FIELDS.iter().filter(|field| field.name != "padding") {
            let Some((offset, size)) = self.0.get(field.name).filter(|it| it.1 == field.size)
            else {
                continue;
            };
            let old = bytes.get(*offset..offset + size);
            let place = new.get_mut(field.offset..field.offset + field.size);
            if let (Some(old), Some(place)) = (old, place) {
                place.copy_from_slice(old);
            }
        }
        read(&new)
    }
}

fn read<T: Plain>(bytes: &[u8]) -> T {
    T::read_from_bytes(bytes).expect("the bytes of a T are as many as a T has")
}

#[cfg(test)]
mod tests {
    use gateway_common::{
        Ipv4, LocalAddress, Port, Ticks,
        map::{Endpoints, Flow, FlowKey, FlowState, NatKey},
    };
    use proptest::prelude::*;
    use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout};

    use super::*;

    #[test]
    fn every_committed_text_is_read_whole() {
        for (number, text) in COMMITTED {
            let descriptor = Descriptor::parse(text).unwrap_or_else(|| panic!("abi {number}"));
            for map in ["flows4", "nats4"] {
                let layout = descriptor.map(map).unwrap_or_else(|| panic!("abi {number}: {map}"));
                assert!(layout.key_size >= 16 && layout.value_size >= 16, "abi {number}: {map}");
            }
        }
    }

    /// A field that changed its size would be dropped silently: it has to take another name.
    #[test]
    fn a_field_has_one_size_for_ever() {
        let mut sizes: BTreeMap<(String, &str, String), usize> = BTreeMap::new();
        for (number, text) in COMMITTED {
            for (map, layout) in Descriptor::parse(text).expect("readable").0 {
                for (part, fields) in [("key", layout.key), ("value", layout.value)] {
                    for (name, (_, size)) in fields.0 {
                        let of = (map.clone(), part, name);
                        let known = *sizes.entry(of.clone()).or_insert(size);
                        assert_eq!(known, size, "abi {number}: {of:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn abi_2_is_read_as_it_was_written() {
        let descriptor = Descriptor::parse(COMMITTED[0].1).expect("readable");
        let flows = descriptor.map("flows4").expect("there are flows");
        assert_eq!((flows.key_size, flows.value_size), (16, 48));
        let mut old = [0u8; 48];
        old[0..4].copy_from_slice(&[10, 0, 0, 5]);
        old[4..8].copy_from_slice(&[10, 0, 0, 200]);
        old[8..10].copy_from_slice(&40000u16.to_be_bytes());
        old[10..12].copy_from_slice(&5672u16.to_be_bytes());
        old[12..16].copy_from_slice(&7u32.to_ne_bytes());
        old[16..20].copy_from_slice(&1234u32.to_ne_bytes());
        old[20] = FlowState::Open as u8;
        old[24..28].copy_from_slice(&11u32.to_ne_bytes());
        old[32..40].copy_from_slice(&99u64.to_ne_bytes());
        let flow: Flow = flows.value.translate(&old);
        let local = |last: u32| LocalAddress(Ipv4::from_number(0x0a00_0000 + last));
        let ends = Endpoints {
            client: local(5),
            client_port: Port::new(40000),
            service: local(200),
            service_port: Port::new(5672),
        };
        let mut expected = Flow::opening(ends, 7, Ticks(1234), FlowState::Open);
        (expected.packets, expected.bytes) = ([11, 0], [99, 0]);
        assert_eq!(flow, expected);
    }

    /// [`Flow`] with its fields the other way round, one more and one less.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
    #[repr(C)]
    struct Other {
        bytes: [u64; 2],
        added: u32,
        packets: [u32; 2],
        seen: u32,
        service: [u8; 4],
        client: [u8; 4],
        padding: [u8; 1],
        state: u8,
        service_port: [u8; 2],
        client_port: [u8; 2],
        wide: [u8; 2],
    }

    const OTHER: &str = "flows4 Hash key 16 value 48\nflows4 value: bytes@0+16 added@16+4 packets@20+8 \
        seen@28+4 service@32+4 client@36+4 state@41+1 service_port@42+2 client_port@44+2 generation@46+2\n";

    proptest! {
        #[test]
        fn fields_keep_their_values_wherever_they_are(bytes in proptest::array::uniform32(any::<u8>()),
                                                      more in proptest::array::uniform16(any::<u8>())) {
            let bytes = [&bytes[..], &more[..]].concat();
            let other = Other::read_from_bytes(&bytes).expect("as many bytes");
            let flow: Flow = Descriptor::parse(OTHER).expect("readable").0["flows4"].value.translate(&bytes);
            prop_assert_eq!(flow.bytes, other.bytes);
            prop_assert_eq!(flow.packets, other.packets);
            prop_assert_eq!(flow.seen, Ticks(other.seen));
            prop_assert_eq!(flow.client.as_bytes(), &other.client[..]);
            prop_assert_eq!(flow.service.as_bytes(), &other.service[..]);
            prop_assert_eq!(flow.client_port.as_bytes(), &other.client_port[..]);
            prop_assert_eq!(flow.service_port.as_bytes(), &other.service_port[..]);
            prop_assert_eq!(flow.state_number(), other.state);
            prop_assert_eq!(flow.generation, 0, "one of another size is not taken");
        }

        #[test]
        fn the_own_layout_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 16)) {
            let own = |fields: &[gateway_common::map::layout::Field]| {
                Fields(fields.iter().map(|it| (it.name.to_owned(), (it.offset, it.size))).collect())
            };
            let key: FlowKey = own(FlowKey::FIELDS).translate(&bytes);
            prop_assert_eq!(&key.as_bytes()[..13], &bytes[..13]);
            prop_assert_eq!(&key.as_bytes()[13..], &[0; 3], "padding is zeros");
            let nat: NatKey = own(NatKey::FIELDS).translate(&bytes);
            prop_assert_eq!(&nat.as_bytes()[..13], &bytes[..13]);
        }

        #[test]
        fn any_bytes_and_any_text_are_survived(
            text in "(flows4|nats4) (key:|value:|Hash key [0-9]{1,3} value [0-9]{1,2}|x@[0-9]+\\+[0-9]+|\n| ){0,12}",
            bytes in proptest::collection::vec(any::<u8>(), 0..64)
        ) {
            if let Some(descriptor) = Descriptor::parse(&text) {
                for layout in descriptor.0.values() {
                    let _: Flow = layout.value.translate(&bytes);
                }
            }
        }
    }

    #[test]
    fn nothing_in_common_is_zeros() {
        let flow: Flow = Fields::default().translate(&[0xff; 48]);
        assert_eq!(flow, Flow::new_zeroed());
    }
}
