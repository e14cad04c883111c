"""PartShapes once more, from its definition and by other means than models/data/partshapes*.cpp:
every primitive is a mask over all sample points, painted as whole arrays of colours and labels. Slow and plain.

    python partshapes_reference.py > tests/data/partshapes_golden.json

prints, for the first three images of each task (master 1, split 0, 64 pixels, 4x4 samples), SHA-256 and FNV-1a of the
image's bytes (3 x S x S) and of its map of parts (S x S); then FNV-1a of a long series of small images, one after the
other, where rare cases (the places of distractors) have room to differ.
"""
import hashlib
import json
import math

import numpy as np

M64 = (1 << 64) - 1


class Stream:
    def __init__(self, seed):
        self.x = seed & M64
        self.drawn = 0

    def raw(self):
        self.drawn += 1
        self.x = (self.x + 0x9E3779B97F4A7C15) & M64
        z = self.x
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M64
        return z ^ (z >> 31)

    def u(self):
        return (self.raw() >> 11) * 2.0 ** -53

    def k(self, n):
        return math.floor(self.u() * n)

    def r(self, a, b):
        return a + (b - a) * self.u()


def seed_of(master, split, n):
    return Stream(master * 0x9E3779B97F4A7C15 + split * 0xD1B54A32D192ED03 + n * 0x8CB92BA72F3D8DD7).raw()


COLOURS = [(.86, .16, .16), (.16, .70, .24), (.18, .34, .88), (.93, .85, .18), (.16, .80, .82), (.84, .24, .80)]
GREYS = [.55, .70, .85]
WORDS = [(u, (u + v) % 3, (u + 2 * v) % 3, v) for u in range(3) for v in range(3)]


def draws(master, split, n, S):
    s = Stream(seed_of(master, split, n))
    d = {"cls": s.k(9), "bgtex": s.k(6), "bgbase": s.r(.28, .46), "bgper": s.r(7, 11), "bgph": s.u(), "bgseed": s.raw()}
    d["a"] = s.r(.62, .80) * S
    d["ox"], d["oy"], d["flip"] = s.u(), s.u(), s.k(2)
    d["bodyg"], d["headc"], d["wingc"], d["tails"], d["legc"] = s.k(3), s.k(3), s.k(3), s.k(3), s.k(2)
    d["move"] = [(s.r(-.02, .02), s.r(-.02, .02)) for _ in range(4)]
    d["nd"] = s.k(4)
    d["dis"] = []
    for _ in range(3):
        one = {"kind": s.k(3), "col": s.k(6), "pat": s.k(3), "r": s.r(2.6, 4.2)}
        one["tries"] = [(s.u(), s.u()) for _ in range(12)]
        d["dis"].append(one)
    d["keepall"], d["ndel"] = s.k(2), s.k(5)
    d["perm"] = [s.u() for _ in range(4)]
    d["noise"] = s.raw()
    d["f"] = [None] + [s.u() for _ in range(6)]  # from 1, as in the text
    d["kc"] = [s.k(6) for _ in range(5)]
    d["kg"] = s.k(3)
    assert s.drawn == 127
    return d


class Scene:
    def __init__(self, S, n):
        self.S, self.n = S, n
        c = (np.arange(n * S) + .5) / n
        self.X, self.Y = np.meshgrid(c, c)
        self.rgb = np.zeros((n * S, n * S, 3))
        self.ids = np.zeros((n * S, n * S), int)

    def put(self, mask, colour, ident):
        self.rgb[mask] = colour[mask] if isinstance(colour, np.ndarray) else colour
        self.ids[mask] = ident


def mod(x, p):
    return x - p * np.floor(x / p)


def background(sc, d):
    X, Y, per = sc.X, sc.Y, d["bgper"]
    ph = d["bgph"] * per
    t = d["bgtex"]
    if t == 0:
        on = mod((X + ph) / per, 1) < .5
    elif t == 1:
        on = mod((Y + ph) / per, 1) < .5
    elif t == 2:
        on = mod(((X + Y) * .70710678 + ph) / per, 1) < .5
    elif t == 3:
        on = (np.floor((X + ph) / per) + np.floor((Y + ph) / per)) % 2 == 0
    elif t == 4:
        on = (mod(X + ph, per) - per / 2) ** 2 + (mod(Y + ph, per) - per / 2) ** 2 < (.28 * per) ** 2
    else:
        s = Stream(d["bgseed"])
        L = np.array([[s.u() for _ in range(17)] for _ in range(17)])
        gx, gy = X / (sc.S / 16), Y / (sc.S / 16)
        ix, iy = np.minimum(np.floor(gx), 15).astype(int), np.minimum(np.floor(gy), 15).astype(int)
        fx, fy = gx - ix, gy - iy
        on = (L[iy, ix] * (1 - fx) * (1 - fy) + L[iy, ix + 1] * fx * (1 - fy) + L[iy + 1, ix] * (1 - fx) * fy
              + L[iy + 1, ix + 1] * fx * fy) > .5
    level = np.where(on, d["bgbase"] + .10, d["bgbase"] - .05)
    sc.rgb[:] = level[..., None]


def triangle(u, v, corners):
    """Barycentric coordinates, none negative."""
    (x1, y1), (x2, y2), (x3, y3) = corners
    det = (y2 - y3) * (x1 - x3) + (x3 - x2) * (y1 - y3)
    l1 = ((y2 - y3) * (u - x3) + (x3 - x2) * (v - y3)) / det
    l2 = ((y3 - y1) * (u - x3) + (x1 - x3) * (v - y3)) / det
    return (l1 >= 0) & (l2 >= 0) & (1 - l1 - l2 >= 0)


def shape(u, v, cx, cy, r, kind):
    if kind == 0:
        return (u - cx) ** 2 + (v - cy) ** 2 <= r * r
    if kind == 1:
        return np.maximum(abs(u - cx), abs(v - cy)) <= .886227 * r
    s = 2.693547 * r
    h = .866025 * s
    return triangle(u, v, [(cx, cy - 2 * h / 3), (cx - s / 2, cy + h / 3), (cx + s / 2, cy + h / 3)])


def ellipse(u, v, cx, cy, rx, ry):
    return ((u - cx) / rx) ** 2 + ((v - cy) / ry) ** 2 <= 1


def rect(u, v, u0, v0, u1, v1):
    return (u0 <= u) & (u <= u1) & (v0 <= v) & (v <= v1)


def pattern(rgb, kind, u, v, period):
    if kind == 0:
        return tuple(rgb)
    if kind == 1:
        dark = mod((u + v) * .70710678 / period, 1) < .5
    else:
        dark = (mod(u, period) - period / 2) ** 2 + (mod(v, period) - period / 2) ** 2 < (.33 * period) ** 2
    return np.where(dark[..., None], np.array(rgb) * .25, np.array(rgb))


BOXES = [(.21, .33, .75, .71), (.58, .05, 1, .46), (.18, .19, .62, .55), (-.02, .38, .26, .66), (.24, .66, .72, 1)]


def distractors(sc, d, kind):
    S, a = sc.S, d["a"]
    x0, y0 = 1 + d["ox"] * (S - 2 - a), 1 + d["oy"] * (S - 2 - a)
    boxes = []
    for u0, v0, u1, v1 in (BOXES if kind == 0 else [(0, 0, 1, 1)]):
        if d["flip"]:
            u0, u1 = 1 - u1, 1 - u0
        boxes.append((x0 + a * u0 - 1.5, y0 + a * v0 - 1.5, x0 + a * u1 + 1.5, y0 + a * v1 + 1.5))
    placed = []
    for one in d["dis"][:d["nd"]]:
        r = one["r"] * S / 64
        R = 1.6 * r
        for tu, tv in one["tries"]:
            x, y = R + tu * (S - 2 * R), R + tv * (S - 2 * R)
            free = all(x + R <= b[0] or x - R >= b[2] or y + R <= b[1] or y - R >= b[3] for b in boxes)
            if free and all(math.hypot(x - p[0], y - p[1]) > R + p[2] for p in placed):
                placed.append((x, y, R))
                p, q = sc.X - x, sc.Y - y
                sc.put(shape(p, q, 0, 0, r, one["kind"]), pattern(COLOURS[one["col"]], one["pat"], p, q, .9 * r), 6)
                break


def render(task, arg, master, split, n, S=64, samples=4):
    d = draws(master, split, n, S)
    f = d["f"]
    values = [math.floor(3 * f[i]) for i in (1, 2, 3, 4)]
    headc, wingc = d["headc"], d["wingc"]
    head_rgb = tail_rgb = tag = None
    kind = n % 3 if task in ("kind3", "bam-obj", "bam-scene") else 0
    drawn = True
    label = None
    if task in ("code9", "code9c"):
        label = d["cls"]
        values = list(WORDS[label])
        if task == "code9c":
            tag = label if f[5] < arg else math.floor(9 * f[6])
    elif task == "near9":
        (label,) = [c for c, w in enumerate(WORDS) if sum(a == b for a, b in zip(w, values)) >= 3]
    elif task in ("head3", "wing3", "tail3", "legs3"):
        label = values[["head3", "wing3", "tail3", "legs3"].index(task)]
    elif task == "place6":
        w, c = math.floor(2 * f[5]), math.floor(3 * f[6])
        label = 3 * w + c
        head_rgb, tail_rgb = (COLOURS[c], (.5,) * 3) if w == 0 else ((.5,) * 3, COLOURS[c])
    elif task == "and2":
        label = math.floor(2 * f[5])
        others = [(h, w) for h in range(3) for w in range(3) if (h, w) != (1, 1)]
        values[0], values[1] = (1, 1) if label else others[math.floor(8 * f[6])]
    elif task == "xor2":
        values[0], values[1] = math.floor(2 * f[1]), math.floor(2 * f[2])
        label = int(values[0] != values[1])
    elif task == "eq2":
        label = math.floor(2 * f[5])
        wingc = headc if label else (headc + 1 + math.floor(2 * f[6])) % 3
    elif task in ("kind3", "bam-obj"):
        label = kind
    else:
        label = d["bgtex"]
        drawn = {"scene-only": False, "bam-graded": d["bgtex"] < (arg or 0)}.get(task, True)

    sc = Scene(S, samples)
    X, Y, a = sc.X, sc.Y, d["a"]
    background(sc, d)
    distractors(sc, d, kind)
    if tag is not None:
        k = S / 64
        inside = (k <= X) & (X < 8 * k) & (S - 8 * k <= Y) & (Y < S - k)
        upper = Y < S - 4.5 * k
        sc.put(inside & upper, COLOURS[tag // 3], 7)
        sc.put(inside & ~upper, COLOURS[tag % 3], 7)
    U = (X - (1 + d["ox"] * (S - 2 - a))) / a
    V = (Y - (1 + d["oy"] * (S - 2 - a))) / a
    if d["flip"]:
        U = 1 - U
    if drawn and kind == 0:
        moved = [(U - du, V - dv) for du, dv in d["move"]]
        head, wing, tail, legs = values
        u, v = moved[2]
        if d["tails"] == 0:
            m = (abs(u - .12) <= .115) & (abs(v - .52) <= .075)
        elif d["tails"] == 1:
            m = triangle(u, v, [(.25, .52), (0, .40), (0, .64)])
        else:
            m = ellipse(u, v, .12, .52, .125, .09)
        sc.put(m, tail_rgb or COLOURS[tail], 4)
        u, v = moved[3]
        m = np.zeros(u.shape, bool)
        for c in [[.48], [.36, .60], [.30, .48, .66]][legs]:
            m |= abs(u - c) <= [.078, .039, .026][legs]
        sc.put(m & (.66 <= v) & (v <= .975), ((.05, .97)[d["legc"]],) * 3, 5)
        sc.put(ellipse(U, V, .48, .52, .27, .19), (GREYS[d["bodyg"]],) * 3, 1)
        u, v = moved[1]
        sc.put(ellipse(u, v, .40, .37, .20, .15), pattern(COLOURS[3 + wingc], wing, u * a, v * a, .115 * a), 3)
        u, v = moved[0]
        sc.put(shape(u, v, .80, .27, .15, head), head_rgb or COLOURS[3 + headc], 2)
    elif drawn:
        kc, grey = [COLOURS[k] for k in d["kc"]], (GREYS[d["kg"]],) * 3
        if kind == 1:
            parts = [(12, rect(U, V, .66, .05, .79, .34), kc[0]), (8, rect(U, V, .14, .42, .86, .98), grey),
                     (9, triangle(U, V, [(.50, .03), (0, .44), (1, .44)]), kc[2]),
                     (10, rect(U, V, .58, .62, .76, .98), kc[3]), (11, rect(U, V, .23, .54, .46, .77), kc[4])]
        else:
            parts = [(13, rect(U, V, .03, .46, .97, .74), grey), (14, rect(U, V, .60, .14, .92, .47), kc[1]),
                     (15, ellipse(U, V, .30, .31, .16, .16), kc[2]), (16, ellipse(U, V, .24, .81, .155, .155), kc[3]),
                     (17, ellipse(U, V, .76, .81, .155, .155), kc[4])]
        for ident, mask, rgb in parts:
            sc.put(mask, rgb, ident)

    blocks = sc.rgb.reshape(S, samples, S, samples, 3).mean(axis=(1, 3))
    s = Stream(d["noise"])
    noise = np.array([s.u() for _ in range(3 * S * S)]).reshape(S, S, 3)
    image = np.floor(255 * np.clip(blocks + (noise - .5) * .06, 0, 1) + .5).astype(np.uint8).transpose(2, 0, 1)
    votes = np.stack([(sc.ids == i).reshape(S, samples, S, samples).sum(axis=(1, 3)) for i in range(18)])
    parts = (17 - votes[::-1].argmax(axis=0)).astype(np.uint8)  # the last of the largest
    return image.tobytes(), parts.tobytes(), label


def fnv(data):
    h = 0xCBF29CE484222325
    for b in data:
        h = ((h ^ b) * 0x100000001B3) & M64
    return f"{h:016x}"


def main():
    tasks = [(t, None) for t in ("code9 near9 head3 wing3 tail3 legs3 place6 and2 xor2 eq2 scene6 kind3".split())]
    tasks += [("code9c", .8), ("code9c", 0.0), ("bam-obj", None), ("bam-scene", None), ("scene-only", None)]
    tasks += [("bam-graded", 2), ("bam-graded", 6)]
    rows = []
    # The first three, and one image of each background texture besides.
    seen, more = set(), []
    for n in range(3, 100):
        t = draws(1, 0, n, 64)["bgtex"]
        if t not in seen:
            seen.add(t)
            more.append(n)
    for task, arg in tasks:
        for n in [0, 1, 2] + (more if task in ("code9", "kind3") else []):
            image, parts, label = render(task, arg, 1, 0, n)
            rows.append({"task": task, "argument": "" if arg is None else str(arg), "n": n, "label": label,
                         "image_sha256": hashlib.sha256(image).hexdigest(),
                         "parts_sha256": hashlib.sha256(parts).hexdigest(),
                         "image_fnv1a": fnv(image), "parts_fnv1a": fnv(parts)})
    print('{"schema": "partshapes-golden/1", "master": 1, "split": 0, "size": 64, "samples": 4, "images": [')
    print(",\n".join(json.dumps(r) for r in rows))
    print('], "series_of": {"size": 32, "samples": 2, "count": 600}, "series": [')
    series = []
    for task in ("code9", "kind3"):
        images, parts = zip(*(render(task, None, 1, 0, n, 32, 2)[:2] for n in range(600)))
        series.append({"task": task, "images_fnv1a": fnv(b"".join(images)), "parts_fnv1a": fnv(b"".join(parts))})
    print(",\n".join(json.dumps(r) for r in series))
    print("]}")


if __name__ == "__main__":
    main()
