// A kernel's parts as CUDA C++. The texts are WGSL whose statements are C++ too, so only declarations, literals and a
// few names are rewritten: functions become members of a struct that holds the buffers and the parameters, and that
// struct is the kernel's one argument. vectors.cu.ts has the types and functions that WGSL brings along.

import { foldWidth } from '@darkroom/gpu-kernels';
import type { KernelText } from '@darkroom/gpu-kernels';

/** Name of the compiled function, by which profilers list the kernel: its label. */
export const entryPointOf = (label: string): string => `darkroom_${label.replace(/\W/g, '_')}`;

/** WGSL's functions that CUDA has under the same names with other rules (round) or other overloads: ours are `wgsl_`. */
const builtins =
  /\b(abs|clamp|exp|exp2|floor|fma|log|log2|max|min|pow|round|sign|sqrt|dot|select|bitcast|inverseSqrt|reciprocal4?|unpack2x16float)(?=[(<])/g;

/** Element types: device.cu.ts has the bare formats, vectors.cu.ts classes that convert. */
const elementTypes: Readonly<Record<string, string>> = {
  f16: 'Half',
  bf16: 'Bfloat',
  u8: 'Byte',
  boolean: 'Boolean',
};
const typeNames = (text: string): string =>
  text.replace(/\b(f16|bf16|u8|boolean)\b/g, (t) => elementTypes[t]!);

/** A function of the texts that vectors.cu.ts has as an instruction. */
const isInstruction = (text: string): boolean => /^fn reciprocal4?\(/.test(text);

/** Statements and expressions. */
function statements(text: string): string {
  return typeNames(text)
    .replace(/\blet\b/g, 'const auto')
    .replace(/\bvar\b/g, 'auto')
    .replaceAll('workgroupBarrier()', '__syncthreads()')
    .replace(builtins, 'wgsl_$1')
    .replace(/(?<![\w.])(\d+\.\d*(?:e[+-]?\d+)?|\d+e[+-]?\d+)(?![\w.])/g, '$1f');
}

/** `fn name(a: T) -> R {` → `KERNEL_FN R name(T a) {`; a text may hold several. */
function functions(text: string): string {
  const declared = text.replace(
    /\bfn (\w+)\(([^)]*)\)(?: -> ([\w<>]+))? \{/g,
    (_, name: string, list: string, result: string | undefined) => {
      const parameters = list
        .split(',')
        .filter((p) => p.trim() !== '')
        .map((p) => {
          const [parameter, type] = p.split(':') as [string, string];
          return `${type.trim()} ${parameter.trim()}`;
        });
      return `KERNEL_FN ${result ?? 'void'} ${name}(${parameters.join(', ')}) {`;
    },
  );
  return statements(declared);
}

/** The whole text to compile, after the headers. */
export function cudaText(text: KernelText): string {
  const buffers = text.buffers.map(({ name, stored, mode }) => {
    const type = typeNames(stored.replace(/^atomic<(\w+)>$/, '$1'));
    return mode === 'read' ? `const ${type}* __restrict__ ${name};` : `${type}* ${name};`;
  });
  return `${text.shared.map((s) => `__shared__ ${s.type} ${s.name}[${s.length}];`).join('\n')}
struct Kernel {
  ${buffers.join('\n  ')}
  struct { ${text.params.map((p) => `${p.type} ${p.name};`).join(' ')} } P;
${text.functions
  .filter((f) => !isInstruction(f))
  .map(functions)
  .join('\n')}
KERNEL_FN void run(u32 tid, u32 group) {
  if (group >= P.groups) { return; }
  ${text.poolBytes > 0 ? 'DYNAMIC_SHARED(char, pool);' : ''}
  ${statements(text.body)}
}
};
extern "C" __global__ void __launch_bounds__(${text.threads}) ${entryPointOf(text.label)}(Kernel kernel) {
  kernel.run(threadIdx.x, blockIdx.x + blockIdx.y * ${foldWidth}u);
}
`;
}
