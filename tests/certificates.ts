import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';

export interface Certified {
  /** Certificate and private key as PEM. */
  cert: string;
  key: string;
}

/** A certificate authority of one test run: nothing outside of it trusts what it signs. */
export interface TestAuthority {
  cert: string;
  /** Certifies a server that is called by these DNS names and IPv4 addresses. */
  issue(...names: string[]): Certified;
}

/** Node reads certificates but makes none; this writes the few fields of X.509 that TLS looks at. */
export function testAuthority(commonName: string): TestAuthority {
  const own = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const certify = (subject: string, publicKey: KeyObject, extension: Buffer) =>
    pem(certificate({ issuer: commonName, subject, publicKey, extension }, own.privateKey));
  return {
    cert: certify(commonName, own.publicKey, BASIC_CONSTRAINTS_CA),
    issue(...names) {
      const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      return {
        cert: certify('server', publicKey, alternativeNames(names)),
        key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      };
    },
  };
}

interface ToBeSigned {
  issuer: string;
  subject: string;
  publicKey: KeyObject;
  extension: Buffer;
}

function certificate(o: ToBeSigned, issuerKey: KeyObject): Buffer {
  const signed = sequence(
    der(0xa0, integer(Buffer.from([2]))), // version 3
    integer(Buffer.concat([Buffer.from([1]), randomBytes(8)])),
    ECDSA_WITH_SHA256,
    distinguishedName(o.issuer),
    sequence(utcTime(Date.now() - 3_600_000), utcTime(Date.now() + 86_400_000)),
    distinguishedName(o.subject),
    o.publicKey.export({ type: 'spki', format: 'der' }) as Buffer,
    der(0xa3, sequence(o.extension)),
  );
  const signature = sign('sha256', signed, issuerKey);
  return sequence(signed, ECDSA_WITH_SHA256, der(0x03, Buffer.from([0]), signature));
}

function der(tag: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), body]);
}

const sequence = (...parts: Buffer[]) => der(0x30, ...parts);
const integer = (value: Buffer) => der(0x02, value);
const oid = (hex: string) => der(0x06, Buffer.from(hex, 'hex'));
const octets = (...parts: Buffer[]) => der(0x04, ...parts);
const TRUE = der(0x01, Buffer.from([0xff]));

const ECDSA_WITH_SHA256 = sequence(oid('2a8648ce3d040302'));
const BASIC_CONSTRAINTS_CA = sequence(oid('551d13'), TRUE, octets(sequence(TRUE)));

function alternativeNames(names: string[]): Buffer {
  const general = names.map((name) =>
    /^[\d.]+$/.test(name)
      ? der(0x87, Buffer.from(name.split('.').map(Number)))
      : der(0x82, Buffer.from(name)),
  );
  return sequence(oid('551d11'), octets(sequence(...general)));
}

const distinguishedName = (commonName: string) =>
  sequence(der(0x31, sequence(oid('550403'), der(0x0c, Buffer.from(commonName)))));

const utcTime = (ms: number) =>
  der(0x17, Buffer.from(`${new Date(ms).toISOString().replaceAll(/[-:T]/g, '').slice(2, 14)}Z`));

function pem(body: Buffer): string {
  const lines = body.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
