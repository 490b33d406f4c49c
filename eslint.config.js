// Lint: package boundaries, no platform imports in portable code, no import circles, lengths of files and functions.
// scripts/repository.test.ts checks boundaries, circles and lengths beyond what ESLint sees: types, import(), other languages.
import { createTypeScriptImportResolver } from 'eslint-import-resolver-typescript';
import importX from 'eslint-plugin-import-x';
import tseslint from 'typescript-eslint';
import { packages, restrictions } from './scripts/checks/boundaries.mjs';

/** What each kind of file of each package may not import. */
const boundaries = Object.keys(packages).flatMap((name) =>
  Object.entries({
    source: { files: [`packages/${name}/src/**/*.ts`] },
    node: { files: [`packages/${name}/src/**/node/**/*.ts`] },
    test: { files: [`packages/${name}/src/**/*.test.ts`] },
  }).map(([kind, where]) => ({
    ...where,
    rules: { 'no-restricted-imports': ['error', { patterns: restrictions(name, kind) }] },
  })),
);

export default tseslint.config(
  {
    ignores: ['**/dist/**', '**/node_modules/**', '**/.cache/**', 'packages/*/lab/**', 'dist-gpu/**'],
  },
  ...tseslint.configs.recommended,
  {
    files: ['packages/*/src/**/*.ts'],
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
      'max-lines': ['error', { max: 400 }],
      'max-lines-per-function': ['error', { max: 100 }],
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      eqeqeq: 'error',
    },
  },
  // A suite is a list of tests, not a function to be understood as one.
  { files: ['**/*.test.ts'], rules: { 'max-lines-per-function': 'off' } },
  ...boundaries,
);
