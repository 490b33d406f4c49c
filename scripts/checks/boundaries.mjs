// Allowed imports between packages. ESLint (eslint.config.js) and scripts/repository.test.ts read this table; the
// picture is in docs/architecture.md.

/**
 * Packages that a package's source may import, and those that its tests may import beside them. `optional`: imports that
 * their users install, with import() alone. `portable`: runs in
 * browsers too, so that `node:` modules are imported only below src/node/ and in tests.
 */
export const packages = {
  core: { imports: [], portable: true },
  'gpu-kernels': { imports: ['core'], portable: true },
  'backend-cpu': { imports: ['core'], portable: true },
  'backend-webgpu': { imports: ['core', 'gpu-kernels'], tests: ['backend-cpu'], portable: true },
  'backend-cuda': { imports: ['core', 'gpu-kernels'], tests: ['backend-cpu'] },
  diffusers: { imports: ['core'], tests: ['backend-cpu', 'backend-webgpu', 'backend-cuda'], portable: true },
  // emoji-64 is the embedded model, in models/.
  cli: {
    imports: ['core', 'backend-cpu', 'backend-webgpu', 'backend-cuda', 'diffusers', 'emoji-64'],
    optional: ['backend-webgpu', 'backend-cuda'],
  },
  conformance: { imports: ['core', 'diffusers', 'cli'], tests: ['backend-cpu', 'backend-webgpu'] },
  packaging: { imports: ['core'], tests: ['diffusers'] },
  bench: {
    // gpu-kernels for the op from outside (src/roll), which brings a kernel of its own.
    imports: [
      'core',
      'gpu-kernels',
      'backend-cpu',
      'backend-webgpu',
      'backend-cuda',
      'diffusers',
      'emoji-64',
      'cli',
      'conformance',
    ],
  },
};

const other = (allowed) =>
  allowed.length === 0 ? '^@darkroom/' : `^@darkroom/(?!(${allowed.join('|')})(/|$))`;

/**
 * Imports that are forbidden in a file of package `name`: `{ regex, message }` for each rule. `kind`: 'source', 'node'
 * (below src/node/), or 'test'.
 */
export function restrictions(name, kind) {
  const { imports, tests = [], portable = false } = packages[name];
  const extra = kind === 'test' ? tests : [];
  const allowed = [...imports, ...extra];
  const names = allowed.length === 0 ? 'no package of ours' : `of ours only ${allowed.join(', ')}`;
  return [
    { regex: other(allowed), message: `${name} imports ${names} (scripts/checks/boundaries.mjs)` },
    { regex: '^@darkroom/[^/]+/(src|dist)(/|$)', message: 'import what the package exports, not its files' },
    {
      regex: `^(\\.\\./)+(packages/|(${Object.keys(packages).join('|')})/(src|dist)/)`,
      message: 'import another package by its name',
    },
    ...(portable && kind === 'source'
      ? [{ regex: '^node:', message: `${name} runs in browsers too: platform code lives in src/node/` }]
      : []),
  ];
}

/** The kind of a file by its path from the repository's root. */
export function kindOf(path) {
  if (path.endsWith('.test.ts')) return 'test';
  return /\/src\/(.*\/)?node\//.test(path) ? 'node' : 'source';
}
