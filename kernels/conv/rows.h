// The gather convolution by rows: staged source, packed weights, and the register block of the matrix product. A tile is one
// phase, one group, a block of output rows (or whole images) and a block of output channels. No tile writes what another
// writes.
#pragma once

#include "kernels/conv/gather.h"

namespace vitrine::kernels {
namespace {

template <class V, bool Forward>
struct RowConv : Gather<V, Forward> {
  using Base = Gather<V, Forward>;
  using typename Base::Args;
  using typename Base::Phase;
  using Base::s, Base::images, Base::groups, Base::phases_h, Base::phases_w, Base::m, Base::channels, Base::out_h, Base::out_w,
      Base::src_h, Base::src_w, Base::block, Base::panels, Base::phase, Base::stage, Base::group_width, Base::weights_at;
  static constexpr std::int64_t kStaged = 48 * 1024;  ///< staged floats of a tile, about
  static constexpr int kGroups = 8;                   ///< column groups made ready at once

  std::int64_t images_per, image_blocks, rows_per, row_blocks, panels_per, panel_blocks;
  bool direct;    ///< vectors straight from the staged rows, without packing column panels
  bool unstaged;  ///< 1x1 and nothing substituted: columns are packed from where they lie

  explicit RowConv(const Args& a) : Base(a) {
    const std::int64_t taps = larger<std::int64_t>(1, ceil_div(s.kh, phases_h) * ceil_div(s.kw, phases_w));  // of most phases
    const std::int64_t grid_h = ceil_div(out_h, phases_h), grid_w = ceil_div(out_w, phases_w), grid = grid_h * grid_w;
    // Columns of few channels are packed as fast as they are multiplied.
    direct = rows_fill_vectors<V>(grid_w) && m <= (channels <= 4 ? 5 : 4) * Blocking<V>::max_rows && taps > 1;

    unstaged = s.kh == 1 && s.kw == 1 && s.h == 1 && s.oh == 1 && s.w == s.ow && s.pad_left == 0 && s.stride_w == 1 && (!Forward || is_raw(a.x_sub));

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

    // Output channels: the packed block of A stays in about half of L2; more blocks where the pixels alone give few tiles. Blocks of
    // equal size: a last one of few panels would make all columns ready for them.
    const std::int64_t packed = m * block * taps;
    panels_per = ceil_div(panels.count, larger<std::int64_t>(1, (packed + 64 * 1024) / (128 * 1024)));
    while (panels_per > 4 && base_tiles() * ceil_div(panels.count, panels_per) < 4 &&
           flops_per_column / panels.count * panels_per * images_per * rows_per * grid_w > (1 << 22)) {
      panels_per = ceil_div(panels_per, 2);
    }
    panel_blocks = ceil_div(panels.count, panels_per);
    panels_per = ceil_div(panels.count, panel_blocks);
  }

  std::int64_t images_of(std::int64_t wanted, std::int64_t grid) const {
    const std::int64_t n = smaller(images, larger<std::int64_t>(1, wanted / larger<std::int64_t>(1, grid)));
    // Some tiles even for a small batch of small images, but no narrower than a few column groups.
    return larger<std::int64_t>(smaller(n, ceil_div(96, grid)), smaller(n, ceil_div(images, 16)));
  }

  std::int64_t base_tiles() const { return phases_h * phases_w * groups * image_blocks * row_blocks; }

  /// Of a column group's panel, and what its last row may write too far.
  std::int64_t group_floats() const { return block * this->max_taps * group_width() + V::width; }

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
      t.staged = larger(t.staged, unstaged ? 0 : images_per * block * st.plane);
      t.panel = larger(t.panel, direct ? 0 : (panels_per > 1 ? kGroups : 1) * group_floats());
      t.offsets = larger(t.offsets, depth);
    }
    t.staged = round_up(t.staged + group_width(), 16);
    t.panel = round_up(t.panel, 16);
    t.spill = round_up(Blocking<V>::max_rows * group_width(), 16);
    t.offsets = round_up(t.offsets, 16);
    t.total = t.staged + t.panel + t.spill + t.offsets;
    return t;
  }

  Work work() const {
    return {base_tiles() * panel_blocks, this->weight_bytes(), static_cast<std::size_t>(scratch().total) * sizeof(float), this->parts()};
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
    const std::int64_t taps = p.ty.count * p.tx.count;
    t.staged_image = unstaged ? groups * channels * src_w : block * st.plane;
    t.out_image = groups * m * out_h * out_w;
    const float* src = Forward ? a.x : a.y;
    float* out = (Forward ? a.y_out : a.x_out) + t.first_image * t.out_image + group * m * out_h * out_w;
    weights += weights_at(which, group);
    float bias[Blocking<V>::max_rows];
    const bool has_bias = Forward && a.bias != nullptr;
    const std::int64_t first_panel = panel_block * panels_per, last_panel = smaller(panels.count, first_panel + panels_per);
    // With several panels of rows, several column groups are made ready at once: each panel then runs along its output rows.
    const int groups_at_once = last_panel - first_panel > 1 ? kGroups : 1;

    std::int64_t c0 = 0;
    do {
      const std::int64_t c1 = smaller(channels, c0 + block), k = (c1 - c0) * taps;
      for (std::int64_t i = t.first_image; i < t.last_image && taps > 0 && !unstaged; ++i) {
        for (std::int64_t c = c0; c < c1; ++c) {
          st.template fill<V>(Forward ? a.x_sub : Substitute{}, src + ((i * groups + group) * channels + c) * src_h * src_w,
                              staged + (i - t.first_image) * t.staged_image + (c - c0) * st.plane);
        }
      }
      if (unstaged) {
        for (std::int64_t c = c0; c < c1; ++c) offsets[c - c0] = static_cast<std::int32_t>((c - c0) * src_w);
      } else {
        this->fill_offsets(p, st, st.plane, c1 - c0, 1, offsets);
      }
      const float* const source = unstaged ? src + ((t.first_image * groups + group) * channels + c0) * src_w : staged;
      Place at{t.first_image, t.r0, 0};
      while (at.image < t.last_image) {
        Group ready[kGroups];
        int count = 0;
        for (; count < groups_at_once && at.image < t.last_image; ++count) {
          Group& g = ready[count];
          const std::int64_t columns = gather_runs(p, st, t, at, g.runs, g.count);
          g.to = target(p, g.runs, g.count, columns);
          g.panel = panel + count * group_floats();
          for (int v = 0; v < g.to.nv; ++v) g.from[v] = direct ? staged + g.runs[smaller<std::int64_t>(v, g.count - 1)].src : g.panel + v * V::width;
        }
        if (!direct) pack_columns(source, offsets, k, ready, count);
        for (std::int64_t q = first_panel; q < last_panel; ++q) {
          const int rows = panels.height(q);
          const std::int64_t row = panels.begin(q);
          const bool add = a.add || c0 > 0, with_bias = has_bias && c0 == 0, relu = Forward && a.relu && c1 == channels;
          for (int r = 0; r < rows && with_bias; ++r) bias[r] = substituted(a.bias_sub, a.bias[group * m + row + r]);
          const float* packed = weights + this->panel_at(p, q, c0);
          float* const base = out + row * out_h * out_w;
          for (int i = 0; i < count; ++i) {
            const Group& g = ready[i];
            const int nv = g.to.nv;
            float* c[Blocking<V>::max_vectors];
            for (int v = 0; v < nv; ++v) c[v] = g.to.spilled ? spill + v * V::width : base + g.to.out[v];
            const std::int64_t ldc = g.to.spilled ? std::int64_t{nv} * V::width : out_h * out_w;
            const float* inner_bias = with_bias && !g.to.spilled ? bias : nullptr;
            const bool inner_add = add && !g.to.spilled, inner_relu = relu && !g.to.spilled;
            if (direct) {
              block_function<V, Indirect>(rows, nv)({k, packed, g.from, {offsets}, c, g.to.n, ldc, inner_bias, inner_add, inner_relu});
            } else {
              block_function<V, Strided>(rows, nv)({k, packed, g.from, {nv * V::width}, c, g.to.n, ldc, inner_bias, inner_add, inner_relu});
            }
            if (g.to.spilled) deliver(p, spill, ldc, rows, g.runs, g.count, base, with_bias ? bias : nullptr, add, relu);
          }
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

  /// A column group made ready for all panels of rows.
  struct Group {
    Run runs[Blocking<V>::max_vectors * V::width];
    std::int64_t count = 0;
    Target to;
    float* panel;
    const float* from[Blocking<V>::max_vectors];
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

  /// Each group's panel[k][width] = its columns, all groups along a row of the source before the next row. Whole vectors are moved:
  /// what one writes too far, the next run or row overwrites.
  void pack_columns(const float* source, const std::int32_t* offsets, std::int64_t k, const Group* some, int count) const {
    constexpr std::int64_t ahead = 6;  // rows: planes lie pages apart, where the machine does not look ahead by itself
    for (std::int64_t i = 0; i < k; ++i) {
      const float* const from = source + offsets[i];
      const float* const later = source + offsets[smaller(i + ahead, k - 1)];
      for (int g = 0; g < count; ++g) {
        const Group& group = some[g];
        float* const to = group.panel + i * group.to.nv * V::width;
        for (std::int64_t r = 0; r < group.count; ++r) {
          const Run& run = group.runs[r];
          if (unstaged) __builtin_prefetch(later + run.src);
          // Behind the last pixel of what is not staged lies foreign memory.
          const V v = unstaged && run.len < V::width ? V::load_n(from + run.src, run.len) : V::load(from + run.src);
          v.store(to + run.at);
        }
      }
    }
  }

  void deliver(const Phase& p, const float* spill, std::int64_t ld, int rows, const Run* runs, std::int64_t count,
               float* out, const float* bias, bool add, bool relu) const {
    for (int r = 0; r < rows; ++r, spill += ld, out += out_h * out_w) {
      const float b = bias ? bias[r] : 0;
      for (std::int64_t i = 0; i < count; ++i) {
        const float* from = spill + runs[i].at;
        float* to = out + runs[i].out;
        if (p.step_w == 1) {
          stream<V>(runs[i].len, [&](std::int64_t j, auto step) {
            V v = load<V>(from + j, step);
            if (bias) v = v + V::set(b);
            store(v, to + j, add, relu, step);
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
