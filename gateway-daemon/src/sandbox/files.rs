//! Landlock: which files may be read, written and run. What no rule names may be looked at, as `stat` does, and
//! nothing else.

use std::fs;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, CompatLevel, Compatible as _, LandlockStatus,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr as _, RulesetCreated,
    RulesetCreatedAttr as _, RulesetStatus, Scope, make_bitflags,
};

use gateway_dataplane::BPFFS;

use super::needs::Needs;
use super::{SandboxError, failed};

/// What is asked for; a kernel that has less gives what it has. Signals to processes outside came with it.
const ASKED: ABI = ABI::V6;

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});
/// A socket is bound in a directory of its own and moved to its place.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | WriteFile | Truncate | MakeReg | MakeDir | MakeSock | RemoveFile | RemoveDir | Refer
});
/// Entries are made, looked at, moved and removed, and not written.
const PIN: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    ReadFile | ReadDir | MakeReg | MakeDir | RemoveFile | RemoveDir | Refer
});
const USE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile | IoctlDev});
const RUN: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | Execute});

/// Restricts this thread and those that it starts; the version of what the kernel enforces, if it does.
pub(super) fn restrict(needs: &Needs) -> Result<Option<i32>, SandboxError> {
    let rules = ruleset(needs).map_err(failed("name the files that it needs"))?;
    let status: RestrictionStatus = rules.restrict_self().map_err(failed("restrict files"))?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, kernel_abi }) => {
            Some(kernel_abi.unwrap_or(effective_abi as i32))
        }
        (_, LandlockStatus::NotEnabled | LandlockStatus::NotImplemented) => None,
    })
}

/// Whether the kernel restricts files for a process. Nothing is restricted by asking.
pub fn has_landlock() -> bool {
    let asked = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    asked.handle_access(AccessFs::Execute).and_then(Ruleset::create).is_ok()
}

fn ruleset(needs: &Needs) -> Result<RulesetCreated, landlock::RulesetError> {
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ASKED))?
        .scope(Scope::from_all(ASKED) & Scope::Signal)?
        .create()?;
    let readable = needs.readable.iter().map(|path| (path.clone(), READ));
    let writable = needs.writable.iter().map(|path| (path.clone(), WRITE));
    // The directory above, as a file system that is mounted again has another root.
    let pins = needs.pins.then(|| Path::new(BPFFS).parent().map(|above| (above.to_owned(), PIN)));
    let devices = needs.devices.iter().map(|path| (path.clone(), USE));
    let programs = needs.restarts.then(programs).unwrap_or_default();
    let programs = programs.into_iter().map(|path| (path, RUN));
    for (path, access) in
        readable.chain(writable).chain(pins.flatten()).chain(devices).chain(programs)
    {
        // What is not there needs no rule, and gets none if it comes.
        let Ok(opened) = PathFd::new(&path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(ASKED) };
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    Ok(rules)
}

/// This program, and what the kernel starts it by: the dynamic linker, which it has among its mappings.
fn programs() -> Vec<PathBuf> {
    let mappings = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let is_linker = |path: &&str| {
        let name = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("ld-") || name.starts_with("ld.so")
    };
    let mut programs: Vec<PathBuf> = mappings
        .lines()
        .filter_map(|line| line.split_whitespace().nth(5))
        .filter(is_linker)
        .map(PathBuf::from)
        .collect();
    programs.dedup();
    programs.push("/proc/self/exe".into());
    programs
}
