import { existsSync, readFileSync } from 'node:fs';
import { exportJWK, generateKeyPair, importJWK, type JWK, SignJWT } from 'jose';
import { writePrivateFile, writePrivateJson } from './private-file.ts';

/** Signs the tokens with which a sidecar proves to sentry which app it is. */
export interface TokenMint {
  /** Writes a new token for the app into the file, which its sidecar reads again at each renewal of its certificate. */
  mint(appId: string, file: string): Promise<void>;
}

export interface TokenMintOptions {
  /** The private key, made at first use. */
  keyFile: string;
  /** Where sentry finds the public half. */
  jwksFile: string;
  namespace: string;
}

/** What sentry and the sidecars call their control plane. */
export const CONTROL_PLANE = { trustDomain: 'dapr.local', namespace: 'default' } as const;

/** How long a token is good for, in seconds: well above the time between two mintings, so that a laptop may sleep. */
const TOKEN_TTL_S = 60 * 60;

/** How often running sidecars get a new token, in milliseconds. */
export const TOKEN_RENEWAL_MS = 10 * 60 * 1000;

/** Opens the mint: makes the key pair when there is none and publishes its public half. */
export async function openTokenMint(o: TokenMintOptions): Promise<TokenMint> {
  const privateJwk = await ensureKey(o.keyFile);
  const { d: _private, ...publicJwk } = privateJwk;
  writePrivateJson(o.jwksFile, { keys: [publicJwk] });
  const key = await importJWK(privateJwk, 'ES256');
  return {
    async mint(appId, file) {
      const token = await new SignJWT()
        .setProtectedHeader({ alg: 'ES256', kid: KEY_ID })
        .setSubject(`spiffe://public/ns/${o.namespace}/${appId}`)
        .setAudience(`spiffe://${CONTROL_PLANE.trustDomain}/ns/${CONTROL_PLANE.namespace}/dapr-sentry`)
        .setIssuedAt()
        .setExpirationTime(Math.floor(Date.now() / 1000) + TOKEN_TTL_S)
        .sign(key);
      writePrivateFile(file, token);
    },
  };
}

const KEY_ID = 'runner';

async function ensureKey(file: string): Promise<JWK> {
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as JWK;
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk: JWK = { ...(await exportJWK(privateKey)), kid: KEY_ID, alg: 'ES256', use: 'sig' };
  writePrivateJson(file, jwk);
  return jwk;
}
