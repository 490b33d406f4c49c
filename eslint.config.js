// Lint: no import cycles, package boundaries, no platform imports in portable code, file length.
import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';

const portable = ['core', 'backend-cpu', 'gpu-kernels', 'backend-webgpu', 'diffusers'].map(
  (p) => `packages/${p}/src/**`,
);
const platform = ['packages/*/src/**/node/**', '**/*.test.ts'];

export default tseslint.config(
  { ignores: ['**/dist/**', '**/node_modules/**', 'packages/*/lab/**', 'dist-gpu/**'] },
  ...tseslint.configs.recommended,
  {
    files: ['packages/*/src/**/*.ts', 'packages/*/examples/**/*.ts'],
    languageOptions: {
      parserOptions: { tsconfigRootDir: import.meta.dirname, project: './tsconfig.lint.json' },
    },
    plugins: { 'import-x': importX },
    settings: {
      'import-x/resolver-next': [createTypeScriptImportResolver({ project: './tsconfig.lint.json' })],
      'import-x/extensions': ['.ts'],
      'import-x/parsers': { '@typescript-eslint/parser': ['.ts'] },
    },
    rules: {
      'import-x/no-cycle': ['error', { ignoreExternal: true }],
      'max-lines': ['error', { max: 800, skipBlankLines: false, skipComments: false }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: 'error',
    },
  },
  {
    files: portable,
    ignores: platform,
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '^node:', message: 'platform code lives in src/node/' }] },
      ],
    },
  },
  {
    files: ['packages/core/src/**'],
    ignores: ['**/*.test.ts', 'packages/core/src/node/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        { patterns: [{ regex: '^(@darkroom/|node:)', message: 'core depends on nothing' }] },
      ],
    },
  },
);
