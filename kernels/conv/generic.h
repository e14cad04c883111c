// Convolution forward and backward-data as gather convolutions (see geometry.h): staged source, packed weights, and the
// register block of the matrix product. A tile is one phase, one group, a block of output rows (or whole images) and a
// block of output channels. No tile writes what another writes, and the order of additions per output is (channel
// block, channel, tap), whatever the cut.
#pragma once

#include "kernels/conv/geometry.h"
#include "kernels/gemm/micro.h"

namespace vitrine::kernels {
namespace {

template <class V, bool Forward>
struct GatherConv {
  using Args = ConvArgs<float>;
  static constexpr std::int64_t kDepth = 256;         ///< taps times channels of a block of K, about
  static constexpr std::int64_t kStaged = 48 * 1024;  ///< staged floats of a tile, about

  ConvShape s;
  std::int64_t images, groups, phases_h, phases_w;
  std::int64_t m, channels;  ///< rows of A; source channels of a group
  std::int64_t out_h, out_w, src_h, src_w;
  std::int64_t block;  ///< source channels of a block of K
  std::int64_t images_per, image_blocks, rows_per, row_blocks, panels_per, panel_blocks;
  Panels panels;
  bool direct;  ///< vectors straight from the staged rows, without packing column panels

  explicit GatherConv(const Args& a) : s(flattened(a.s)) {
    images = s.n;
    groups = s.groups;
    const std::int64_t cg = s.c / groups, og = s.oc / groups;
    m = Forward ? og : cg;
    channels = Forward ? cg : og;
    phases_h = Forward ? 1 : s.stride_h;
    phases_w = Forward ? 1 : s.stride_w;
    out_h = Forward ? s.oh : s.h;
    out_w = Forward ? s.ow : s.w;
    src_h = Forward ? s.h : s.oh;
    src_w = Forward ? s.w : s.ow;
    panels = panels_of<V>(m);

    // Sizes of the largest phase. The block of K depends on nothing but the kernel and the channels.
    const std::int64_t taps = larger<std::int64_t>(1, ceil_div(s.kh, phases_h) * ceil_div(s.kw, phases_w));
    const std::int64_t blocks = larger<std::int64_t>(1, ceil_div(channels * taps, kDepth));
    block = larger<std::int64_t>(1, ceil_div(channels, blocks));
    const std::int64_t grid_h = ceil_div(out_h, phases_h), grid_w = ceil_div(out_w, phases_w), grid = grid_h * grid_w;
    direct = rows_fill_vectors<V>(grid_w) && (m <= 4 * Blocking<V>::max_rows) && taps > 1;

    // Columns of a tile: enough for about 2 Mflop, and not more than the cache holds staged.
    const std::int64_t flops_per_column = 2 * m * channels * taps;
    const std::int64_t wanted = larger<std::int64_t>(512, (1 << 21) / larger<std::int64_t>(1, flops_per_column));
    images_per = images_of(wanted, grid);
    rows_per = grid_h;
    if (images_per == 1) {
      rows_per = smaller(grid_h, larger<std::int64_t>(1, wanted / grid_w));
      const std::int64_t span = src_w + s.kw;
      const std::int64_t stride_rows = Forward ? s.stride_h : 1;
      while (rows_per > 1 && (rows_per * stride_rows + s.kh) * span * block > kStaged) --rows_per;
      rows_per = ceil_div(grid_h, ceil_div(grid_h, rows_per));
    } else {
      const std::int64_t staged = larger<std::int64_t>(1, (src_h + s.kh) * (src_w + s.kw) * block);
      images_per = smaller(images_per, larger<std::int64_t>(1, kStaged / staged));
    }
    image_blocks = ceil_div(images, images_per);
    row_blocks = ceil_div(grid_h, rows_per);

    // Output channels: the packed block of A stays in half of L2; more blocks where the pixels alone give few tiles.
    panels_per = panels.count;
    const std::int64_t height = ceil_div(m, panels.count), depth = block * taps;
    panels_per = smaller(panels_per, larger<std::int64_t>(1, 128 * 1024 / larger<std::int64_t>(1, height * depth)));
    while (panels_per > 4 && base_tiles() * ceil_div(panels.count, panels_per) < 16 &&
           flops_per_column / panels.count * panels_per * images_per * rows_per * grid_w > (1 << 22)) {
      panels_per = ceil_div(panels_per, 2);
    }
    panel_blocks = ceil_div(panels.count, panels_per);
  }

  std::int64_t images_of(std::int64_t wanted, std::int64_t grid) const {
    const std::int64_t n = smaller(images, larger<std::int64_t>(1, wanted / larger<std::int64_t>(1, grid)));
    // Some tiles even for a small batch of small images, but no narrower than a few column groups.
    return larger<std::int64_t>(smaller(n, ceil_div(96, grid)), smaller(n, ceil_div(images, 16)));
  }

  std::int64_t base_tiles() const { return phases_h * phases_w * groups * image_blocks * row_blocks; }

  /// One phase: its taps and the grid of outputs it writes.
  struct Phase {
    Taps ty, tx;
    std::int64_t gh, gw, y0, x0, step_h, step_w;
  };

  Phase phase(std::int64_t index) const {
    if constexpr (Forward) {
      return {forward_taps(s.kh, s.pad_top, s.dilation_h),
              forward_taps(s.kw, s.pad_left, s.dilation_w),
              s.oh,
              s.ow,
              0,
              0,
              1,
              1};
    } else {
      const std::int64_t ry = index / phases_w, rx = index % phases_w;
      return {phase_taps(ry, s.kh, s.pad_top, s.dilation_h, s.stride_h),
              phase_taps(rx, s.kw, s.pad_left, s.dilation_w, s.stride_w),
              ry < s.h ? ceil_div(s.h - ry, s.stride_h) : 0,
              rx < s.w ? ceil_div(s.w - rx, s.stride_w) : 0,
              ry,
              rx,
              s.stride_h,
              s.stride_w};
    }
  }

  /// Where the packed weights of a phase and group begin: [panel][channel, tap][row of the panel].
  std::int64_t weights_at(std::int64_t index, std::int64_t group) const {
    std::int64_t taps = 0;
    for (std::int64_t i = 0; i < index; ++i) {
      const Phase p = phase(i);
      taps += p.ty.count * p.tx.count;
    }
    const Phase p = phase(index);
    return m * channels * (groups * taps + group * p.ty.count * p.tx.count);
  }

  std::int64_t group_width() const { return Blocking<V>::vectors(panels.height(0)) * V::width; }

  Stage stage(const Phase& p, std::int64_t r0, std::int64_t r1) const {
    return {p.ty, p.tx, src_h, src_w, Forward ? s.stride_h : 1, Forward ? s.stride_w : 1, r0, r1, p.gw};
  }

  struct Scratch {
    std::int64_t staged, panel, spill, offsets, total;
  };

  /// Floats of each part of the scratch, over all phases.
  Scratch scratch() const {
    Scratch t{};
    for (std::int64_t i = 0; i < phases_h * phases_w; ++i) {
      const Phase p = phase(i);
      if (p.gh <= 0 || p.gw <= 0) continue;
      const Stage st = stage(p, 0, smaller(rows_per, p.gh));
      const std::int64_t depth = block * p.ty.count * p.tx.count;
      t.staged = larger(t.staged, images_per * block * st.plane);
      t.panel = larger(t.panel, direct ? 0 : depth * group_width());
      t.offsets = larger(t.offsets, depth);
    }
    t.staged = round_up(t.staged + group_width(), 16);
    t.panel = round_up(t.panel + V::width, 16);
    t.spill = round_up(Blocking<V>::max_rows * group_width(), 16);
    t.offsets = round_up(t.offsets, 16);
    t.total = t.staged + t.panel + t.spill + t.offsets;
    return t;
  }

  static Work plan(const Args& a) noexcept {
    if (a.s.n <= 0 || a.s.c <= 0 || a.s.oc <= 0) return {0, 0, 0};
    const GatherConv g(a);
    if (g.out_h <= 0 || g.out_w <= 0) return {0, 0, 0};
    const std::int64_t weights = std::int64_t{g.s.oc} * (g.s.c / g.groups) * g.s.kh * g.s.kw;
    return {g.base_tiles() * g.panel_blocks, static_cast<std::size_t>(weights) * sizeof(float),
            static_cast<std::size_t>(g.scratch().total) * sizeof(float)};
  }

  static void pack(const Args& a, std::byte* shared) noexcept {
    const GatherConv g(a);
    float* dst = reinterpret_cast<float*>(shared);
    for (std::int64_t i = 0; i < g.phases_h * g.phases_w; ++i) {
      const Phase p = g.phase(i);
      for (std::int64_t group = 0; group < g.groups; ++group) {
        for (std::int64_t panel = 0; panel < g.panels.count; ++panel) {
          const int rows = g.panels.height(panel);
          g.pack_panel(a, p, group, g.panels.begin(panel), rows, dst);
          dst += rows * g.channels * p.ty.count * p.tx.count;
        }
      }
    }
  }

  void pack_panel(const Args& a, const Phase& p, std::int64_t group, std::int64_t row, int rows, float* dst) const {
    const std::int64_t cg = s.c / groups, og = s.oc / groups, kernel = std::int64_t{s.kh} * s.kw;
    if constexpr (Forward) {
      const std::int64_t k = cg * kernel;
      transpose<V>(a.w_sub, a.w + (group * og + row) * k, k, rows, k, dst, rows);
    } else {
      for (std::int64_t o = 0; o < og; ++o) {
        const float* w = a.w + ((group * og + o) * cg + row) * kernel;
        for (std::int64_t ty = 0; ty < p.ty.count; ++ty) {
          for (std::int64_t tx = 0; tx < p.tx.count; ++tx, dst += rows) {
            const float* from = w + (p.ty.k0 + ty * p.ty.kstep) * s.kw + p.tx.k0 + tx * p.tx.kstep;
            for (int r = 0; r < rows; ++r) dst[r] = substituted(a.w_sub, from[r * kernel]);
          }
        }
      }
    }
  }

  static void tile(const Args& a, const std::byte* shared, std::byte* scratch, std::int64_t index) noexcept {
    const GatherConv g(a);
    g.run_tile(a, reinterpret_cast<const float*>(shared), reinterpret_cast<float*>(scratch), index);
  }

  /// What the loops over column groups need to know of the tile.
  struct Columns {
    std::int64_t first_image, last_image, r0, r1;
    std::int64_t staged_image;  ///< staged elements from image to image
    std::int64_t out_image;     ///< output elements from image to image
  };

  void run_tile(const Args& a, const float* weights, float* memory, std::int64_t index) const {
    const std::int64_t panel_block = index % panel_blocks;
    index /= panel_blocks;
    const std::int64_t row_block = index % row_blocks;
    index /= row_blocks;
    const std::int64_t image_block = index % image_blocks;
    index /= image_blocks;
    const std::int64_t group = index % groups, which = index / groups;
    const Phase p = phase(which);
    Columns t{};
    t.first_image = image_block * images_per;
    t.last_image = smaller(images, t.first_image + images_per);
    t.r0 = row_block * rows_per;
    t.r1 = smaller(p.gh, t.r0 + rows_per);
    if (t.r0 >= t.r1 || p.gw <= 0) return;

    const Scratch part = scratch();
    float *staged = memory, *panel = staged + part.staged, *spill = panel + part.panel;
    std::int32_t* offsets = reinterpret_cast<std::int32_t*>(spill + part.spill);
    const Stage st = stage(p, t.r0, t.r1);
    const std::int64_t taps = p.ty.count * p.tx.count, depth = channels * taps;
    t.staged_image = block * st.plane;
    t.out_image = groups * m * out_h * out_w;
    const float* src = Forward ? a.x : a.y;
    float* out = (Forward ? a.y_out : a.x_out) + t.first_image * t.out_image + group * m * out_h * out_w;
    weights += weights_at(which, group);
    float bias[Blocking<V>::max_rows];
    const bool has_bias = Forward && a.bias != nullptr;
    const std::int64_t last_panel = smaller(panels.count, (panel_block + 1) * panels_per);

    std::int64_t c0 = 0;
    do {
      const std::int64_t c1 = smaller(channels, c0 + block), k = (c1 - c0) * taps;
      for (std::int64_t i = t.first_image; i < t.last_image && taps > 0; ++i) {
        for (std::int64_t c = c0; c < c1; ++c) {
          st.fill<V>(Forward ? a.x_sub : Substitute{}, src + ((i * groups + group) * channels + c) * src_h * src_w,
                     staged + (i - t.first_image) * t.staged_image + (c - c0) * st.plane);
        }
      }
      std::int32_t* next = offsets;
      for (std::int64_t c = 0; c < c1 - c0; ++c) {
        for (std::int64_t ty = 0; ty < p.ty.count; ++ty) {
          for (std::int64_t tx = 0; tx < p.tx.count; ++tx) {
            *next++ = static_cast<std::int32_t>(c * st.plane + st.tap_offset(ty, tx));
          }
        }
      }
      Place at{t.first_image, t.r0, 0};
      while (at.image < t.last_image) {
        Run runs[Blocking<V>::max_vectors * V::width];
        std::int64_t count = 0;
        const std::int64_t columns = gather_runs(p, st, t, at, runs, count);
        Target to = target(p, runs, count, columns);
        const int nv = to.nv;
        const float* from[Blocking<V>::max_vectors];
        if (direct) {
          for (int v = 0; v < nv; ++v) from[v] = staged + runs[smaller<std::int64_t>(v, count - 1)].src;
        } else {
          pack_columns(staged, offsets, k, runs, count, nv * V::width, panel);
          for (int v = 0; v < nv; ++v) from[v] = panel + v * V::width;
        }
        for (std::int64_t q = panel_block * panels_per; q < last_panel; ++q) {
          const int rows = panels.height(q);
          const std::int64_t row = panels.begin(q);
          const bool add = a.add || c0 > 0, with_bias = has_bias && c0 == 0;
          for (int r = 0; r < rows && with_bias; ++r) bias[r] = substituted(a.bias_sub, a.bias[group * m + row + r]);
          const float* packed = weights + row * depth + c0 * taps * rows;
          float* c[Blocking<V>::max_vectors];
          float* base = out + row * out_h * out_w;
          for (int v = 0; v < nv; ++v) c[v] = to.spilled ? spill + v * V::width : base + to.out[v];
          const std::int64_t ldc = to.spilled ? std::int64_t{nv} * V::width : out_h * out_w;
          const float* inner_bias = with_bias && !to.spilled ? bias : nullptr;
          if (direct) {
            block_function<V, Indirect>(rows,
                                        nv)({k, packed, from, {offsets}, c, to.n, ldc, inner_bias, add && !to.spilled});
          } else {
            block_function<V, Strided>(
                rows, nv)({k, packed, from, {nv * V::width}, c, to.n, ldc, inner_bias, add && !to.spilled});
          }
          if (to.spilled) deliver(p, spill, ldc, rows, runs, count, base, with_bias ? bias : nullptr, add);
        }
      }
      c0 = c1;
    } while (c0 < channels);
  }

  /// The next column to handle.
  struct Place {
    std::int64_t image, row, col;
  };

  /// Takes the columns of the next group: one vector per run (direct), or packed one behind another.
  std::int64_t gather_runs(const Phase& p, const Stage& st, const Columns& t, Place& at, Run* runs,
                           std::int64_t& count) const {
    const std::int64_t width = group_width();
    std::int64_t used = 0;
    while (used < width && at.image < t.last_image) {
      const std::int64_t room = direct ? V::width : smaller<std::int64_t>(V::width, width - used);
      const std::int64_t len = smaller(room, p.gw - at.col), image = at.image - t.first_image;
      runs[count++] = {used, image * t.staged_image + st.row_offset(at.row - t.r0) + at.col,
                       image * t.out_image + (p.y0 + at.row * p.step_h) * out_w + p.x0 + at.col * p.step_w, len};
      used += direct ? V::width : len;
      at.col += len;
      if (at.col == p.gw) {
        at.col = 0;
        if (++at.row == t.r1) {
          at.row = t.r0;
          ++at.image;
        }
      }
    }
    return used;
  }

  /// Where a column group goes: straight to the output if each of its vectors is contiguous there, else by way of
  /// `spill`.
  struct Target {
    bool spilled = false;
    int nv = 0;
    std::int64_t out[Blocking<V>::max_vectors] = {}, n[Blocking<V>::max_vectors] = {};
  };

  Target target(const Phase& p, const Run* runs, std::int64_t count, std::int64_t columns) const {
    Target t;
    t.nv = static_cast<int>(group_width() / V::width);
    if (columns <= V::width) t.nv = 1;
    t.spilled = p.step_w != 1;
    if (direct) {
      for (std::int64_t v = 0; v < t.nv; ++v) {
        t.out[v] = runs[smaller(v, count - 1)].out;
        t.n[v] = v < count ? runs[v].len : 0;
      }
    } else {
      for (std::int64_t i = 1; i < count; ++i)
        t.spilled = t.spilled || runs[i].out != runs[i - 1].out + runs[i - 1].len;
      for (std::int64_t v = 0; v < t.nv; ++v) {
        t.n[v] = larger<std::int64_t>(0, smaller<std::int64_t>(V::width, columns - v * V::width));
        t.out[v] = runs[0].out + (t.n[v] > 0 ? v * V::width : 0);
      }
    }
    if (t.spilled) {
      for (std::int64_t v = 0; v < t.nv; ++v) t.n[v] = V::width;
    }
    return t;
  }

  /// panel[k][width] = staged columns. Whole vectors are moved: what one writes too far, the next run or row
  /// overwrites.
  static void pack_columns(const float* staged, const std::int32_t* offsets, std::int64_t k, const Run* runs,
                           std::int64_t count, std::int64_t width, float* panel) {
    for (std::int64_t i = 0; i < k; ++i, panel += width) {
      const float* from = staged + offsets[i];
      for (std::int64_t r = 0; r < count; ++r) V::load(from + runs[r].src).store(panel + runs[r].at);
    }
  }

  void deliver(const Phase& p, const float* spill, std::int64_t ld, int rows, const Run* runs, std::int64_t count,
               float* out, const float* bias, bool add) const {
    for (int r = 0; r < rows; ++r, spill += ld, out += out_h * out_w) {
      const float b = bias ? bias[r] : 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const float* from = spill + runs[i].at;
        float* to = out + runs[i].out;
        if (p.step_w == 1) {
          stream<V>(runs[i].len, [&](std::int64_t j, auto step) {
            V v = load<V>(from + j, step);
            if (bias) v = v + V::set(b);
            store(v, to + j, add, step);
          });
        } else {
          for (std::int64_t j = 0; j < runs[i].len; ++j, to += p.step_w) *to = add ? *to + from[j] : from[j];
        }
      }
    }
  }
};

}  // namespace
}  // namespace vitrine::kernels
