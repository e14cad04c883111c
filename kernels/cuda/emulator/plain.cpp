// The plain build checks no single access.
#include "kernels/cuda/emulator/block.h"

namespace vitrine::kernels::cuda::emulator::check {

void launch_begins() noexcept {}
void launch_ends() noexcept {}
void block_begins() noexcept {}
void block_ends() noexcept {}
void created(const void*, std::size_t, bool) noexcept {}
void destroyed(const void*, std::size_t) noexcept {}
void pending(const void*, std::size_t) noexcept {}
void access(const void*, std::size_t, Access, Site) noexcept {}

}  // namespace vitrine::kernels::cuda::emulator::check
