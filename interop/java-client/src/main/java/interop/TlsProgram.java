package interop;

import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultSaslConfig;
import com.rabbitmq.client.GetResponse;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** The Java client over TLS: the cases of tests/interop/tls.rs. Arguments: port, our certificates, a stranger's. */
public final class TlsProgram {
    private static final char[] NO_SECRET = "leveret".toCharArray();

    private TlsProgram() {
    }

    interface Body {
        void run() throws Exception;
    }

    public static void main(String[] arguments) {
        int port = Integer.parseInt(arguments[0]);
        Path ours = Path.of(arguments[1]);
        Path strange = Path.of(arguments[2]);
        boolean held = hold("without-certificate", () -> talk(factory(port, ours, null)))
                & hold("with-certificate", () -> talk(factory(port, ours, ours)))
                & hold("server-of-a-stranger", () -> refused(factory(port, strange, ours)))
                & hold("client-of-a-stranger", () -> refused(factory(port, ours, strange)));
        Runtime.getRuntime().halt(held ? 0 : 1);
    }

    private static boolean hold(String name, Body body) {
        String problem = null;
        try {
            body.run();
        } catch (Exception | AssertionError failure) {
            failure.printStackTrace();
            problem = String.valueOf(failure).replace('\n', ' ');
        }
        System.out.println(problem == null ? "ok " + name : "FAILED " + name + ": " + problem);
        System.out.flush();
        return problem == null;
    }

    private static ConnectionFactory factory(int port, Path authority, Path certificate) throws Exception {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        try (InputStream pem = Files.newInputStream(authority.resolve("ca_certificate.pem"))) {
            CertificateFactory reader = CertificateFactory.getInstance("X.509");
            trusted.setCertificateEntry("authority", reader.generateCertificate(pem));
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        ConnectionFactory factory = new ConnectionFactory();
        if (certificate == null) {
            context.init(null, trust.getTrustManagers(), null);
            factory.setUsername("CN=client,O=Leveret");
            factory.setPassword("secret");
        } else {
            KeyStore own = KeyStore.getInstance("PKCS12");
            try (InputStream store = Files.newInputStream(certificate.resolve("client.p12"))) {
                own.load(store, NO_SECRET);
            }
            KeyManagerFactory keys = KeyManagerFactory.getInstance("SunX509");
            keys.init(own, NO_SECRET);
            context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
            factory.setSaslConfig(DefaultSaslConfig.EXTERNAL);
        }
        factory.setHost("localhost");
        factory.setPort(port);
        factory.useSslProtocol(context);
        factory.enableHostnameVerification();
        factory.setAutomaticRecoveryEnabled(false);
        return factory;
    }

    private static void talk(ConnectionFactory factory) throws Exception {
        byte[] body = new byte[320_000];
        Arrays.fill(body, (byte) 'x');
        try (Connection connection = factory.newConnection(); Channel channel = connection.createChannel()) {
            String queue = channel.queueDeclare().getQueue();
            channel.confirmSelect();
            channel.basicPublish("", queue, null, body);
            channel.waitForConfirmsOrDie(TimeUnit.SECONDS.toMillis(Broker.PATIENCE_S));
            GetResponse found = channel.basicGet(queue, true);
            Broker.equal(found.getBody(), body, "body");
        }
    }

    private static void refused(ConnectionFactory factory) throws Exception {
        try (Connection connection = factory.newConnection()) {
            throw new AssertionError("not refused: " + connection);
        } catch (IOException expected) {
            return;
        }
    }
}
