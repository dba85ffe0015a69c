//! How the VM loads the library, and loads it again.
//!
//! A build tool that reloads modules (`r3:do(compile)`, `l(sockeye_nif)`) has the VM load the stubs anew while the engine
//! runs and processes hold its resources. As long as the file is the same, the dynamic linker
//! gives the same library, with its threads and statics: then the new code takes over what the old one
//! registered. A library that is another file is refused, and finds nothing of this one's.
//!
//! rustler's own entry has no `upgrade`; this one is made of the same parts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use rustler::codegen_runtime::{
    ErlNifEntry, ErlNifEnv, ErlNifFunc, ErlNifTerm, c_int, c_void, inventory,
};
use rustler::sys::{
    ErlNifMonitor, ErlNifPid, ErlNifResourceDown, ErlNifResourceDtor, ErlNifResourceFlags,
    ErlNifResourceTypeInit, enif_open_resource_type_x,
};
use rustler::{Env, LocalPid, Monitor, Resource, Term};

use crate::atoms;
use crate::calls::codec::Codec;
use crate::calls::inbound;
use crate::server::owner_inbox;
use crate::vm::{monitor, reply, running};

/// Changes with every change of what the Erlang stubs expect.
const ABI: u32 = 16;

/// What the VM keeps objects of.
const RESOURCES: [ResourceKind; 5] = [
    ResourceKind::of::<monitor::Watch>(),
    ResourceKind::of::<inbound::InboxRef>(),
    ResourceKind::of::<Codec>(),
    ResourceKind::of::<owner_inbox::OwnerInboxRef>(),
    ResourceKind::of::<reply::ReplyWait>(),
];

fn load(env: Env<'_>, info: Term<'_>) -> bool {
    running::report_panics();
    is_ours(info) && atoms::make(env) && RESOURCES.iter().all(|kind| kind.register(env))
}

/// The same library for new code of the stubs: all that is open stays.
fn upgrade(env: Env<'_>, info: Term<'_>) -> bool {
    is_ours(info) && atoms::make(env) && RESOURCES.iter().all(|kind| kind.take_over(env))
}

fn is_ours(info: Term<'_>) -> bool {
    info.decode::<u32>().is_ok_and(|abi| abi == ABI)
}

/// Its address tells this library from another one.
static MARK: u8 = 0;

/// Loaded with nothing to take over, and nobody has asked yet.
static AFRESH: AtomicBool = AtomicBool::new(false);

/// Whether this was a load that took over nothing. Only the first who asks is told so.
#[rustler::nif]
fn loaded_afresh() -> bool {
    AFRESH.swap(false, Ordering::Relaxed)
}

struct NifEntry(ErlNifEntry);

// SAFETY: written once, and only read by the VM then; all that it points to lives as long as the
// library.
unsafe impl Send for NifEntry {}
// SAFETY: as above.
unsafe impl Sync for NifEntry {}

fn entry() -> *const ErlNifEntry {
    static ENTRY: OnceLock<NifEntry> = OnceLock::new();
    let entry = ENTRY.get_or_init(|| {
        let functions: Vec<ErlNifFunc> = inventory::iter::<rustler::Nif>()
            .map(rustler::Nif::get_def)
            .collect();
        let mut entry = ErlNifEntry::new(c"sockeye_nif", functions.leak(), load_nif);
        entry.upgrade = Some(upgrade_nif);
        NifEntry(entry)
    });
    &raw const entry.0
}

/// What the VM looks for in the library.
// SAFETY: the name is the one that the VM asks for, and nobody else's in this library.
#[cfg(not(windows))]
#[unsafe(no_mangle)]
extern "C" fn nif_init() -> *const ErlNifEntry {
    // SAFETY: the VM calls this before anything else.
    unsafe { rustler::codegen_runtime::internal_write_symbols() };
    entry()
}

/// The same on Windows, where the VM brings its functions along.
// SAFETY: as above.
#[cfg(windows)]
#[unsafe(no_mangle)]
extern "C" fn nif_init(
    callbacks: *mut rustler::codegen_runtime::DynNifCallbacks,
) -> *const ErlNifEntry {
    // SAFETY: as above, with what the VM gave.
    unsafe { rustler::codegen_runtime::internal_set_symbols(callbacks) };
    entry()
}

extern "C" fn load_nif(env: *mut ErlNifEnv, data: *mut *mut c_void, info: ErlNifTerm) -> c_int {
    // SAFETY: the VM gives an environment that is good for this call, and room for the data.
    unsafe {
        *data = mark();
        AFRESH.store(true, Ordering::Relaxed);
        run(env, info, load)
    }
}

unsafe extern "C" fn upgrade_nif(
    env: *mut ErlNifEnv,
    data: *mut *mut c_void,
    old_data: *mut *mut c_void,
    info: ErlNifTerm,
) -> c_int {
    // SAFETY: as above; the old data is what a library of this name has set.
    unsafe {
        if *old_data != mark() {
            return 1;
        }
        *data = mark();
        run(env, info, upgrade)
    }
}

fn mark() -> *mut c_void {
    (&raw const MARK).cast_mut().cast()
}

/// 0 if all went well.
///
/// # Safety
/// Both are good for this call, in which resource types may be opened.
unsafe fn run(env: *mut ErlNifEnv, info: ErlNifTerm, work: fn(Env<'_>, Term<'_>) -> bool) -> c_int {
    // SAFETY: as promised.
    let (env, info) = unsafe {
        let env = Env::new_init_env(&env, env);
        (env, Term::new(env, info))
    };
    let done = catch_unwind(AssertUnwindSafe(|| work(env, info)));
    c_int::from(!done.unwrap_or(false))
}

/// A type of resource.
pub(crate) struct ResourceKind {
    register: fn(Env<'_>) -> bool,
    take_over: fn(Env<'_>) -> bool,
}

impl ResourceKind {
    pub(crate) const fn of<T: Resource>() -> Self {
        ResourceKind {
            register: register::<T>,
            take_over: take_over::<T>,
        }
    }

    pub(crate) fn register(&self, env: Env<'_>) -> bool {
        (self.register)(env)
    }

    pub(crate) fn take_over(&self, env: Env<'_>) -> bool {
        (self.take_over)(env)
    }
}

/// A type for the first time, by rustler.
fn register<T: Resource>(env: Env<'_>) -> bool {
    env.register::<T>().is_ok()
}

/// The type and all its objects. rustler knows it by its address, which stays.
fn take_over<T: Resource>(env: Env<'_>) -> bool {
    let Ok(name) = std::ffi::CString::new(std::any::type_name::<T>()) else {
        return false;
    };
    let dtor = drop_object::<T> as *const ErlNifResourceDtor;
    let down = down_object::<T> as *const ErlNifResourceDown;
    let init = ErlNifResourceTypeInit {
        dtor: if T::IMPLEMENTS_DESTRUCTOR || std::mem::needs_drop::<T>() {
            dtor
        } else {
            ptr::null()
        },
        stop: ptr::null(),
        down: if T::IMPLEMENTS_DOWN {
            down
        } else {
            ptr::null()
        },
    };
    let flags = ErlNifResourceFlags::ERL_NIF_RT_TAKEOVER;
    let mut tried = flags;
    // SAFETY: within an upgrade; the name ends with a zero byte, and the functions below treat
    // an object as rustler does.
    let opened = unsafe {
        enif_open_resource_type_x(env.as_c_arg(), name.as_ptr(), &init, flags, &mut tried)
    };
    !opened.is_null()
}

/// Where rustler puts the object in the memory that the VM gave.
///
/// # Safety
/// The memory was allocated by rustler for a `T`.
unsafe fn object<T>(memory: *mut c_void) -> *mut T {
    let align = align_of::<T>();
    // SAFETY: there is room for an alignment more.
    unsafe { memory.add(align - memory as usize % align).cast() }
}

unsafe extern "C" fn drop_object<T: Resource>(env: *mut ErlNifEnv, memory: *mut c_void) {
    let _ = catch_unwind(|| {
        // SAFETY: the VM drops an object once, and nobody has it any more.
        unsafe {
            let object = ptr::read(object::<T>(memory));
            if T::IMPLEMENTS_DESTRUCTOR {
                object.destructor(Env::new(&env, env));
            }
        }
    });
}

unsafe extern "C" fn down_object<T: Resource>(
    env: *mut ErlNifEnv,
    memory: *mut c_void,
    pid: *const ErlNifPid,
    monitor: *const ErlNifMonitor,
) {
    let _ = catch_unwind(|| {
        // SAFETY: the object lives during this call, and both are set.
        unsafe {
            let object = &*object::<T>(memory).cast_const();
            let pid = LocalPid::from_c_arg(*pid);
            object.down(Env::new(&env, env), pid, Monitor::from_c_arg(*monitor));
        }
    });
}
