// WGSL's names in CUDA C++, which kernel texts use: scalar names, vectors of two and four, and functions on them.
// Comes after device.cu.ts, which has the conversions of narrow floats.

const elementwise = (operators: readonly string[]): string =>
  operators
    .map(
      (op) => `
template <class T> WGSL_FN vec4<T> operator${op}(vec4<T> a, vec4<T> b) { return vec4<T>(a.x ${op} b.x, a.y ${op} b.y, a.z ${op} b.z, a.w ${op} b.w); }
template <class T> WGSL_FN vec4<T> operator${op}(vec4<T> a, T b) { return a ${op} vec4<T>(b); }
template <class T> WGSL_FN vec4<T> operator${op}(T a, vec4<T> b) { return vec4<T>(a) ${op} b; }`,
    )
    .join('');
const comparisons = (operators: readonly string[]): string =>
  operators
    .map(
      (op) => `
template <class T> WGSL_FN vec4<bool> operator${op}(vec4<T> a, vec4<T> b) { return vec4<bool>(a.x ${op} b.x, a.y ${op} b.y, a.z ${op} b.z, a.w ${op} b.w); }`,
    )
    .join('');
/** name → a float32 function of one argument. */
const unary: Readonly<Record<string, string>> = {
  abs: 'fabsf(a)',
  exp: 'fastExp2(a * 1.44269504f)', // 2 + |x| ulp, within WGSL's 3 + 2 |x|; exp_ is exact to the last bits
  exp2: 'exp2f(a)',
  floor: 'floorf(a)',
  log: 'logf(a)',
  log2: 'log2f(a)',
  round: 'rintf(a)', // to even, as WGSL's
  sqrt: 'sqrtf(a)',
  inverseSqrt: 'rsqrtf(a)',
  sign: 'a > 0.0f ? 1.0f : a < 0.0f ? -1.0f : 0.0f',
};
const unaries = Object.entries(unary)
  .map(
    ([name, body]) => `
WGSL_FN f32 wgsl_${name}(f32 a) { return ${body}; }
WGSL_FN vec4<f32> wgsl_${name}(vec4<f32> a) { return vec4<f32>(wgsl_${name}(a.x), wgsl_${name}(a.y), wgsl_${name}(a.z), wgsl_${name}(a.w)); }`,
  )
  .join('');
/** min and max of floats give the other argument for NaN, as WGSL allows; the texts test for NaN themselves. */
const extremes = ['min', 'max']
  .map((name) => {
    const op = name === 'min' ? '<' : '>';
    const integer = (t: string): string => `
WGSL_FN ${t} wgsl_${name}(${t} a, ${t} b) { return a ${op} b ? a : b; }`;
    return `
WGSL_FN f32 wgsl_${name}(f32 a, f32 b) { return f${name}f(a, b); }${integer('u32')}${integer('i32')}
template <class T> WGSL_FN vec4<T> wgsl_${name}(vec4<T> a, vec4<T> b) { return vec4<T>(wgsl_${name}(a.x, b.x), wgsl_${name}(a.y, b.y), wgsl_${name}(a.z, b.z), wgsl_${name}(a.w, b.w)); }`;
  })
  .join('');

export const vectors: string = `
#define WGSL_FN static __device__ __forceinline__
#define KERNEL_FN __device__ __forceinline__
typedef int i32;
typedef float f32;
struct Half {
  f16 value;
  Half() = default;
  __device__ explicit Half(f32 v) : value(toF16(v)) {}
  __device__ explicit operator f32() const { return toFloat(value); }
};
struct Bfloat {
  bf16 value;
  Bfloat() = default;
  __device__ explicit Bfloat(f32 v) : value(toBf16(v)) {}
  __device__ explicit operator f32() const { return toFloat(value); }
};
struct Byte {
  u8 value;
  Byte() = default;
  __device__ explicit Byte(f32 v) : value(u8(v > 0.0f ? fminf(v, 255.0f) : 0.0f)) {} // NaN is 0
  __device__ explicit operator f32() const { return f32(value); }
};
struct Boolean {
  u8 value;
  Boolean() = default;
  __device__ explicit Boolean(f32 v) : value(v != 0.0f ? 1 : 0) {}
  __device__ explicit operator f32() const { return f32(value); }
};

template <class T> struct alignas(2 * sizeof(T)) vec2 {
  T x, y;
  vec2() = default;
  __device__ explicit vec2(T a) : x(a), y(a) {}
  __device__ vec2(T a, T b) : x(a), y(b) {}
  __device__ vec2& operator+=(vec2 o) { x += o.x; y += o.y; return *this; }
};
template <class T> struct alignas(4 * sizeof(T)) vec4 {
  T x, y, z, w;
  vec4() = default;
  __device__ explicit vec4(T a) : x(a), y(a), z(a), w(a) {}
  __device__ vec4(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {}
  __device__ vec4(vec2<T> a, T c, T d) : x(a.x), y(a.y), z(c), w(d) {}
  template <class S> __device__ explicit vec4(const vec4<S>& o) : x(T(o.at(0))), y(T(o.at(1))), z(T(o.at(2))), w(T(o.at(3))) {}
  __device__ T at(u32 i) const { return (&x)[i]; }
  __device__ T& operator[](u32 i) { return (&x)[i]; }
  __device__ const T& operator[](u32 i) const { return (&x)[i]; }
  __device__ vec4& operator+=(vec4 o) { x += o.x; y += o.y; z += o.z; w += o.w; return *this; }
};
// Four elements of 16 bits are one word of 64, which is one access: member by member they would be four.
#define PACKED_VEC4(T, format)                                                                                \\
  template <> struct alignas(8) vec4<T> {                                                                     \\
    u64 bits;                                                                                                 \\
    vec4() = default;                                                                                         \\
    __device__ explicit vec4(const vec4<f32>& v)                                                              \\
        : bits(pack##format(v.x, v.y) | u64(pack##format(v.z, v.w)) << 32) {}                                 \\
    __device__ f32 at(u32 i) const {                                                                          \\
      const u32 pair = u32(bits >> i / 2 * 32);                                                               \\
      return i % 2 == 0 ? low##format(pair) : high##format(pair);                                             \\
    }                                                                                                         \\
  };
PACKED_VEC4(Half, F16)
PACKED_VEC4(Bfloat, Bf16)
template <class T, int N> struct array {
  T values[N];
  template <class... A> __device__ array(A... a) : values{a...} {}
  __device__ T& operator[](u32 i) { return values[i]; }
};
${elementwise(['+', '-', '*', '/', '&', '|'])}
${comparisons(['<', '<=', '>', '>=', '==', '!='])}
template <class T> WGSL_FN vec4<T> operator-(vec4<T> a) { return vec4<T>(-a.x, -a.y, -a.z, -a.w); }
template <class T> WGSL_FN vec4<T> operator<<(vec4<T> a, vec4<u32> b) { return vec4<T>(a.x << b.x, a.y << b.y, a.z << b.z, a.w << b.w); }
template <class T> WGSL_FN vec4<T> operator>>(vec4<T> a, vec4<u32> b) { return vec4<T>(a.x >> b.x, a.y >> b.y, a.z >> b.z, a.w >> b.w); }
template <class T, class S> WGSL_FN T wgsl_bitcast(S s) { T t; memcpy(&t, &s, sizeof t); return t; }
template <class T> WGSL_FN T wgsl_select(T no, T yes, bool condition) { return condition ? yes : no; }
template <class T> WGSL_FN vec4<T> wgsl_select(vec4<T> no, vec4<T> yes, vec4<bool> c) { return vec4<T>(c.x ? yes.x : no.x, c.y ? yes.y : no.y, c.z ? yes.z : no.z, c.w ? yes.w : no.w); }
${unaries}
${extremes}
template <class T> WGSL_FN T wgsl_clamp(T x, T low, T high) { return wgsl_min(wgsl_max(x, low), high); }
WGSL_FN vec2<f32> wgsl_unpack2x16float(u32 v) { return vec2<f32>(lowF16(v), highF16(v)); }
WGSL_FN f32 wgsl_reciprocal(f32 a) { return fastReciprocal(a); }
WGSL_FN vec4<f32> wgsl_reciprocal4(vec4<f32> a) { return vec4<f32>(fastReciprocal(a.x), fastReciprocal(a.y), fastReciprocal(a.z), fastReciprocal(a.w)); }
WGSL_FN f32 wgsl_pow(f32 a, f32 b) { return powf(a, b); }
WGSL_FN f32 wgsl_fma(f32 a, f32 b, f32 c) { return fmaf(a, b, c); }
WGSL_FN vec4<f32> wgsl_fma(vec4<f32> a, vec4<f32> b, vec4<f32> c) { return vec4<f32>(fmaf(a.x, b.x, c.x), fmaf(a.y, b.y, c.y), fmaf(a.z, b.z, c.z), fmaf(a.w, b.w, c.w)); }
WGSL_FN f32 wgsl_dot(vec4<f32> a, vec4<f32> b) { return fmaf(a.x, b.x, fmaf(a.y, b.y, fmaf(a.z, b.z, a.w * b.w))); }
`;
