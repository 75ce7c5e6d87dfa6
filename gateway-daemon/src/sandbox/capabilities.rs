//! Giving up capabilities: from every set of this thread, and from what programs that it starts can have.

use caps::{CapSet, Capability, CapsHashSet};

use super::{SandboxError, failed};

/// Keeps these as far as they are held, and nothing else.
pub(super) fn keep(wanted: &CapsHashSet) -> Result<(), SandboxError> {
    let held = caps::read(None, CapSet::Permitted).map_err(failed("read capabilities"))?;
    let kept: CapsHashSet = held.intersection(wanted).copied().collect();
    // Who may not is not root either, and gains none by starting a program, as no program is privileged.
    if held.contains(&Capability::CAP_SETPCAP) {
        for capability in caps::runtime::thread_all_supported() {
            let is_bounded = caps::has_cap(None, CapSet::Bounding, capability)
                .map_err(failed("read capabilities"))?;
            if is_bounded && !kept.contains(&capability) {
                caps::drop(None, CapSet::Bounding, capability)
                    .map_err(failed("bound capabilities"))?;
            }
        }
    }
    // Without root, programs that it starts have what is ambient, which is what is inheritable as well.
    let ambient = match caps::runtime::ambient_set_supported() {
        Ok(()) => caps::read(None, CapSet::Ambient).map_err(failed("read capabilities"))?,
        Err(_) => CapsHashSet::new(),
    };
    let inheritable = ambient.intersection(&kept).copied().collect();
    caps::set(None, CapSet::Inheritable, &inheritable).map_err(failed("give up capabilities"))?;
    // In this order, as what is effective has to be permitted at any time.
    caps::set(None, CapSet::Effective, &kept).map_err(failed("give up capabilities"))?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed("give up capabilities"))
}
