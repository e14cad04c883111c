// What the module of CUDA kernels needs of a runtime: memory, copies, the first failure. runtime.cu implements it by
// the CUDA runtime, emulator/heap.cpp in host memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace vitrine::kernels::cuda {

/// Makes device `index` current; false and a sentence in *why if there is none.
bool open(int index, const char** why) noexcept;
const char* device_name() noexcept;
/// Compute capability, as 80 for 8.0.
int capability() noexcept;
std::size_t free_bytes() noexcept;
void* allocate(std::size_t bytes) noexcept;
void release(void*) noexcept;
void upload(void* to, const void* host, std::size_t bytes) noexcept;
void download(void* host, const void* from, std::size_t bytes) noexcept;
void zero(void* to, std::size_t bytes) noexcept;
void synchronise() noexcept;
/// Recording by the runtime (kernels/device.h); what `end` gives is passed back to the others.
bool begin_recording() noexcept;
void* end_recording() noexcept;
void replay(void*) noexcept;
void forget(void*) noexcept;

/// The first failure since the device was opened (failure.cpp keeps it).
bool failed() noexcept;
void forget_failure() noexcept;
const char* failure() noexcept;
/// Keeps the sentence what + detail, unless one is kept already.
void fail(const char* what, const char* detail = "") noexcept;

/// Device memory for partial results of one slot, kept by the module: its content lasts until the next call. Null, with
/// a failure kept, if there is not enough.
void* workspace(std::size_t bytes) noexcept;
/// How often the workspace has moved.
std::uint64_t workspace_moves() noexcept;
/// The step in which it grows. 0: each call allocates exactly what it asks for, so that the emulator detects a
/// workspace that is too small.
std::size_t workspace_step() noexcept;

}  // namespace vitrine::kernels::cuda
